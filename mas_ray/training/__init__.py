"""One cascade stage as a plain generator; no Ray, no MLflow, no ground truth."""
