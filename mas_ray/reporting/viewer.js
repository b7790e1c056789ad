"use strict";
// The 3D skeleton viewer: poses from #viewer-data, drawn on a canvas, turned by dragging.
(() => {
  const root = document.getElementById("viewer");
  if (!root) return;
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const canvas = root.querySelector("canvas");
  const context = canvas.getContext("2d");
  const playButton = root.querySelector(".play");
  const scrub = root.querySelector(".scrub");
  const picker = root.querySelector(".sequence");
  const where = root.querySelector(".where");
  const GRID_MM = 500;
  const GRID_CELLS = 6;
  const DISTANCE_MM = 5200;

  let sequence = data.sequences[0];
  let frame = 0;
  let yaw = 0.6;
  let pitch = 0.22;
  let playing = false;
  let shownAt = 0;

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // From upright millimetres to canvas pixels; the camera looks at the middle of the body.
  function projector(box) {
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const focal = box.size * 2.15;
    return (x, y, z) => {
      const turnedX = cy * x - sy * z;
      const turnedZ = sy * x + cy * z;
      const raised = cp * y - sp * turnedZ;
      const depth = DISTANCE_MM - (sp * y + cp * turnedZ);
      return { x: box.x + (focal * turnedX) / depth, y: box.y - (focal * raised) / depth, depth };
    };
  }

  function drawGrid(project, colour) {
    const reach = (GRID_CELLS / 2) * GRID_MM;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.beginPath();
    for (let i = -reach; i <= reach; i += GRID_MM) {
      for (const [a, b] of [[[i, -reach], [i, reach]], [[-reach, i], [reach, i]]]) {
        const start = project(a[0], sequence.floor, a[1]);
        const end = project(b[0], sequence.floor, b[1]);
        context.moveTo(start.x, start.y);
        context.lineTo(end.x, end.y);
      }
    }
    context.stroke();
  }

  function drawPose(pose, project, size) {
    const colours = [style("--left"), style("--centre"), style("--right")];
    const points = [];
    for (let i = 0; i < pose.length; i += 3) {
      points.push(pose[i] === null ? null : project(pose[i], pose[i + 1], pose[i + 2]));
    }
    const bones = data.bones
      .filter(([a, b]) => points[a] && points[b])
      .map(([a, b, side]) => ({ a: points[a], b: points[b], side, depth: points[a].depth + points[b].depth }))
      .sort((p, q) => q.depth - p.depth);
    context.lineCap = "round";
    for (const bone of bones) {
      context.strokeStyle = colours[bone.side];
      context.lineWidth = Math.max(2, (size * 36) / bone.depth * 2);
      context.beginPath();
      context.moveTo(bone.a.x, bone.a.y);
      context.lineTo(bone.b.x, bone.b.y);
      context.stroke();
    }
  }

  function drawPanel(label, pose, left, width, height) {
    const size = Math.min(1.6 * width, height); // people are taller than wide
    const project = projector({ x: left + width / 2, y: height * 0.5, size });
    context.save();
    context.beginPath();
    context.rect(left, 0, width, height);
    context.clip();
    drawGrid(project, style("--line"));
    context.fillStyle = style("--muted");
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(label, left + width / 2, 20);
    if (pose) drawPose(pose, project, size);
    else context.fillText("no pose at this frame", left + width / 2, height / 2);
    context.restore();
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const panels = [["prediction", sequence.predicted[frame]]];
    if (sequence.reference) panels.push(["reference", sequence.reference[frame]]);
    panels.forEach(([label, pose], i) =>
      drawPanel(label, pose, (i * width) / panels.length, width / panels.length, height));
    const split = sequence.splits[frame] ? ` · ${sequence.splits[frame]}` : "";
    where.textContent = `frame ${sequence.instants[frame]}${split}`;
    scrub.value = String(frame);
    root.dataset.frame = String(frame);
  }

  function tick(now) {
    if (!playing) return;
    if (now - shownAt >= 1000 / sequence.framesPerSecond) {
      shownAt = now;
      frame = (frame + 1) % sequence.instants.length;
      draw();
    }
    requestAnimationFrame(tick);
  }

  function setPlaying(on) {
    playing = on && sequence.instants.length > 1;
    playButton.textContent = playing ? "Pause" : "Play";
    if (playing) requestAnimationFrame(tick);
  }

  function choose(index) {
    sequence = data.sequences[index];
    frame = 0;
    scrub.max = String(sequence.instants.length - 1);
    draw();
  }

  data.sequences.forEach((item, i) => picker.add(new Option(item.name, String(i))));
  picker.hidden = data.sequences.length < 2;
  picker.addEventListener("change", () => choose(Number(picker.value)));
  playButton.addEventListener("click", () => setPlaying(!playing));
  scrub.addEventListener("input", () => {
    setPlaying(false);
    frame = Number(scrub.value);
    draw();
  });

  let grabbed = null;
  canvas.addEventListener("pointerdown", (event) => {
    grabbed = { x: event.clientX, y: event.clientY, yaw, pitch };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) return;
    yaw = grabbed.yaw - (event.clientX - grabbed.x) * 0.01;
    pitch = Math.max(-0.3, Math.min(1.4, grabbed.pitch + (event.clientY - grabbed.y) * 0.01));
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { grabbed = null; });

  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  choose(0);
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
})();
