"""One verb per file: a job in, a result out. With tracking, the only code that knows Ray."""
