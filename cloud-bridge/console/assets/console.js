// Keeps an open page fresh: fetches it again and exchanges the parts marked `data-live` that have changed.
"use strict";
(() => {
  const seconds = Number(document.body.dataset.refresh);
  const pause = document.getElementById("pause");
  const lost = document.getElementById("lost");
  const made = document.getElementById("made");
  if (!seconds || !made) return;
  let paused = false;
  let busy = false;

  function exchange(old, fresh) {
    if (old.innerHTML === fresh.innerHTML) return;
    for (const open of old.querySelectorAll("details[id][open]")) {
      const same = fresh.querySelector("#" + open.id);
      if (same) same.open = true;
    }
    // Who stands on a link with the keyboard keeps their place.
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const href = focused && focused.getAttribute("href");
    old.replaceChildren(...fresh.childNodes);
    if (href) {
      const same = [...old.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === href);
      if (same) same.focus({ preventScroll: true });
    }
  }

  async function update() {
    if (paused || busy || document.hidden) return;
    busy = true;
    try {
      const limit = AbortSignal.timeout(15000);
      const answer = await fetch(location.href, { cache: "no-store", signal: limit });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(old.id);
        if (fresh) exchange(old, fresh);
      }
      const time = page.getElementById("made");
      if (time) {
        made.textContent = time.textContent;
        made.dateTime = time.dateTime;
      }
      lost.hidden = true;
    } catch {
      if (lost.hidden) lost.textContent = lost.dataset.text + " " + made.textContent + ".";
      lost.hidden = false;
    } finally {
      busy = false;
    }
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? pause.dataset.resume : pause.dataset.pause;
    update();
  });
  document.addEventListener("visibilitychange", update);
  setInterval(update, seconds * 1000);
})();
