// What helps where scripts run; every page is complete without it.
"use strict";

const box = document.getElementById("q");
const hits = [...document.querySelectorAll("[data-hit]")];

for (const hidden of document.querySelectorAll("[data-scripted]")) {
  hidden.hidden = hidden.dataset.scripted === "clipboard" && !navigator.clipboard;
}

function go(steps) {
  const at = hits.findIndex((hit) => hit.contains(document.activeElement));
  const next = hits[Math.min(Math.max(at + steps, 0), hits.length - 1)];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
}

const keys = {
  "/": () => { box?.focus(); box?.select(); },
  j: () => go(1),
  k: () => go(-1),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    const said = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
      said.textContent = `${button.dataset.name} copied`;
    } catch {
      said.textContent = "the browser does not let pages copy: select the text below";
    }
  });
}

for (const form of document.querySelectorAll("[data-slow]")) {
  form.addEventListener("submit", () => { form.querySelector("[role=status]").textContent = form.dataset.slow; });
}

// On a narrow screen the outline would stand before the paper: it is folded there.
const outline = document.getElementById("outline");
if (outline && matchMedia("(max-width: 60rem)").matches) outline.open = false;
