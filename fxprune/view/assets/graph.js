// The picture in a page: draws it anew when a run is folded or a module is closed, and lights up what would be cut
// together. It follows place.js in the same script.
(() => {
  const data = JSON.parse(document.getElementById("graph-data").textContent);
  const { metrics: m, stops, cards, boxes, groups } = data;
  const svg = document.getElementById("graph");
  const panel = document.getElementById("details");
  const NS = "http://www.w3.org/2000/svg";
  const folded = new Set(boxes.filter((box) => box.times).map((box) => box.number));
  const closed = new Set(); // boxes that show as one card
  let nodes = []; // what shows: {element, stop, made, groups}
  let pinned = null;
  let zoom = 1;

  const { n, isBox, boxOf, place } = places(data, folded, closed);
  const make = (tag, attributes, parent) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (parent) parent.append(element);
    return element;
  };

  // ---- drawing ----------------------------------------------------------------------------------------------------

  const firstLeaf = (item) => (isBox(item) ? firstLeaf(boxOf(item).items[0]) : item);

  const rect = (parent, look, x, y, width, height, rx) => make("rect", { class: look, x: n(x), y: n(y), width: n(width), height: n(height), rx }, parent);

  const range = (values) => {
    const low = Math.min(...values);
    const high = Math.max(...values);
    return low === high ? String(low) : `${low}–${high}`;
  };

  const called = (box) => `${box.title} ${box.badge}`.trim();
  const union = (lists) => [...new Set(lists.flat())];

  const told = (g, first, last) => {
    const now = g.querySelector(".now");
    if (!now || first.length < 2) return;
    now.textContent = `${range(first.map((k) => stops[k].after[0]))} → ${range(last.map((k) => stops[k].after[1]))}`;
  };

  const drawCard = (parent, placed, offsets) => {
    const stop = stops[placed.item];
    const twins = offsets.map((offset) => placed.item + offset);
    const g = make("g", { class: "node", tabindex: "0", role: "button", transform: `translate(${n(placed.x)} ${n(placed.y)})` }, parent);
    g.innerHTML = cards[stop.card]; // drawn and escaped by svg.py
    told(g, twins, twins);
    g.setAttribute("aria-label", [`${stop.path} ${stop.what}`.trim(), ...stop.made.map((k) => groups[k].told)].join(", "));
    g.dataset.stop = placed.item;
    g.dataset.path = stop.path;
    const made = union(twins.map((k) => stops[k].made));
    nodes.push({ element: g, stop: placed.item, shown: stop.made, made, groups: union(twins.map((k) => stops[k].groups)) });
  };

  const drawWhole = (parent, placed, offsets) => {
    const box = boxOf(placed.item);
    const [first, last] = box.inside;
    const g = make("g", { class: "node closed", tabindex: "0", role: "button", transform: `translate(${n(placed.x)} ${n(placed.y)})` }, parent);
    for (const k of [2, 1]) rect(g, "under", -placed.left + m.stack * k, m.stack * k, placed.left + placed.right, placed.height, 5);
    make("g", {}, g).innerHTML = cards[box.closed[0]]; // drawn and escaped by svg.py
    told(g, offsets.map((offset) => first + offset), offsets.map((offset) => last + offset));
    g.setAttribute("aria-label", `${called(box)}, closed`);
    g.setAttribute("aria-expanded", "false");
    g.dataset.box = box.number;
    const held = offsets.flatMap((offset) => stops.slice(first + offset, last + offset + 1));
    const made = union(held.map((stop) => stop.made));
    nodes.push({ element: g, stop: -1, shown: stops[last].made, made, groups: union(held.map((stop) => stop.groups)) });
  };

  const drawBox = (parent, placed, offsets) => {
    const box = boxOf(placed.item);
    const g = make("g", { transform: `translate(${n(placed.x)} ${n(placed.y)})` }, parent);
    const width = placed.left + placed.right;
    if (box.number) {
      if (placed.folded) {
        for (const k of [2, 1]) rect(g, "under", -placed.left + m.stack * k, m.stack * k, width, placed.height, 8);
        rect(g, "under", -placed.left, 0, width, placed.height, 8);
      }
      rect(g, "box", -placed.left, 0, width, placed.height, 8);
    }
    for (const wire of placed.wires) {
      const look = wire.residual ? `wire residual ${stops[wire.value].look}`.trim() : "wire";
      const path = make("path", { class: look, d: wire.path }, g);
      if (wire.arrow && !wire.residual) path.setAttribute("marker-end", "url(#arrow)");
    }
    if (box.number) drawHeader(g, placed, box);
    let inner = offsets;
    if (placed.folded) {
      const starts = box.items.map(firstLeaf);
      inner = offsets.flatMap((offset) => starts.map((start) => offset + start - starts[0]));
    }
    for (const item of placed.inside) (item.ports ? drawBox : isBox(item.item) ? drawWhole : drawCard)(g, item, inner);
  };

  const button = (parent, look, box, label, expanded) =>
    make("g", { class: look, tabindex: "0", role: "button", "data-box": box.number, "aria-label": label, "aria-expanded": expanded }, parent);

  const drawHeader = (parent, placed, box) => {
    const g = button(parent, "shut", box, `${called(box)}, open`, true);
    rect(g, "grip", -placed.left, 0, placed.left + placed.right, m.header, 8);
    make("text", { class: "title", x: n(-placed.left + 10), y: 16 }, g).textContent = `▾ ${box.title}`;
    if (!box.badge) return;
    const width = box.room[1] - 12;
    const fold = button(parent, "fold", box, `${called(box)}, ${placed.folded ? "folded" : "unfolded"}`, !placed.folded);
    rect(fold, "badge", placed.right - width - 6, 4, width, 17, 8.5);
    const words = `${box.badge} ${placed.folded ? "▸" : "▾"}`;
    make("text", { class: "times", x: n(placed.right - 6 - width / 2), y: 16, "text-anchor": "middle" }, fold).textContent = words;
  };

  const draw = (focus) => {
    nodes = [];
    svg.querySelector(".drawing")?.remove();
    const drawing = make("g", { class: "drawing" }, svg);
    const placed = place(boxes[0]);
    drawBox(drawing, placed, [0]);
    const margin = 24;
    const width = placed.left + placed.right + 2 * margin;
    const height = placed.height + 2 * margin;
    svg.setAttribute("viewBox", `${n(-placed.left - margin)} ${-margin} ${n(width)} ${n(height)}`);
    svg.setAttribute("width", n(width * zoom));
    svg.setAttribute("height", n(height * zoom));
    if (focus) svg.querySelector(focus)?.focus();
    light(pinned);
  };

  // ---- what would be cut together ---------------------------------------------------------------------------------

  const light = (indices) => {
    const wanted = new Set(indices || []);
    svg.classList.toggle("lighting", wanted.size > 0);
    for (const { element, made, groups: held } of nodes) {
      const hit = held.some((index) => wanted.has(index));
      element.classList.toggle("lit", hit);
      element.classList.toggle("via", !hit && made.some((index) => wanted.has(index)));
    }
  };

  const element = (tag, text, look) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (look) made.className = look;
    return made;
  };

  const chip = (group) => element("span", group.letter || (group.kind === "free" ? "free" : ""), `chip ${group.look}`);

  const tell = (indices) => {
    panel.replaceChildren();
    if (!indices || !indices.length) {
      panel.append(element("p", "Hover or focus a layer: everything that would be cut with it lights up.", "quiet"));
      return;
    }
    for (const index of indices) {
      const group = groups[index];
      const head = element("h2");
      const size = group.after === group.width ? `${group.width}` : `${group.width} → ${group.after}`;
      if (group.kind !== "free") head.append(chip(group), " ");
      head.append(`${group.kind}, ${size} ${group.width === 1 ? "channel" : "channels"}`);
      panel.append(head);
      if (group.reason) panel.append(element("p", `protected: ${group.reason}`));
      for (const [title, names] of [["filters of", group.out], ["inputs of", group.in], ["goes along in", group.along]]) {
        if (!names.length) continue;
        panel.append(element("h3", title));
        const list = element("ul");
        for (const name of names) list.append(element("li", name));
        panel.append(list);
      }
      if (group.ties.length) {
        panel.append(element("h3", "tied by"));
        const list = element("ul");
        for (const [op, where, line] of group.ties) {
          const entry = element("li", op);
          if (where) entry.append(` in ${where}`);
          if (line) entry.append(element("code", line));
          list.append(entry);
        }
        panel.append(list);
      }
    }
  };

  const show = (indices) => {
    light(indices);
    tell(indices);
  };
  const pin = (indices) => {
    pinned = indices;
    show(indices);
  };
  const nodeAt = (event) => event.target.closest?.(".node");
  const madeBy = (element) => nodes.find((node) => node.element === element).shown;

  svg.addEventListener("pointerover", (event) => nodeAt(event) && show(madeBy(nodeAt(event))));
  svg.addEventListener("pointerout", (event) => nodeAt(event) && show(pinned));
  svg.addEventListener("focusin", (event) => nodeAt(event) && show(madeBy(nodeAt(event))));
  svg.addEventListener("focusout", () => show(pinned));

  const flip = (set, number, focus) => {
    if (!set.delete(number)) set.add(number);
    draw(`${focus}[data-box="${number}"]`);
  };
  const act = (event) => {
    const found = event.target.closest?.(".fold, .shut, .node");
    const number = Number(found?.dataset.box);
    if (!found) pin(null);
    else if (found.matches(".fold")) flip(folded, number, ".fold");
    else if (found.matches(".shut")) flip(closed, number, ".closed");
    else if (found.matches(".closed")) flip(closed, number, ".shut");
    else pin(madeBy(found));
  };
  svg.addEventListener("click", act);
  svg.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: ".shut", ArrowRight: ".closed" }[event.key];
    if (event.key === "Enter" || event.key === " " || (turn && event.target.matches(turn))) {
      event.preventDefault();
      act(event);
    }
  });

  // ---- finding and turning ----------------------------------------------------------------------------------------

  const uncover = (box, stop) => {
    closed.delete(box.number);
    const k = box.items.findIndex((item) => (isBox(item) ? boxOf(item).inside[0] <= stop && stop <= boxOf(item).inside[1] : item === stop));
    if (k > 0) folded.delete(box.number);
    if (isBox(box.items[k])) uncover(boxOf(box.items[k]), stop);
  };
  const reveal = (stop) => {
    uncover(boxes[0], stop);
    draw();
    const found = nodes.find((node) => node.stop === stop);
    found?.element.scrollIntoView({ block: "center", inline: "center" });
    found?.element.focus({ preventScroll: true });
  };
  const search = document.getElementById("search");
  const results = document.getElementById("results");
  const find = () => {
    const words = search.value.trim().toLowerCase();
    results.replaceChildren();
    if (!words) return;
    const found = stops.map((stop, k) => [stop, k]).filter(([stop]) => stop.kind === "layer" && stop.path.toLowerCase().includes(words));
    for (const [stop, k] of found.slice(0, 12)) {
      const button = element("button", stop.path);
      button.type = "button";
      button.addEventListener("click", () => reveal(k));
      const entry = element("li");
      entry.append(button);
      results.append(entry);
    }
    if (found.length > 12) results.append(element("li", `and ${found.length - 12} more`, "quiet"));
    if (!found.length) results.append(element("li", "no such layer", "quiet"));
  };
  search.addEventListener("input", find);
  search.addEventListener("keydown", (event) => event.key === "Enter" && results.querySelector("button")?.click());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape") {
      search.value = "";
      find();
      pin(null);
    }
  });

  const on = (id, action) => document.getElementById(id)?.addEventListener("click", action);
  const refold = () => { for (const box of boxes) if (box.times) folded.add(box.number); };
  on("unfold", () => { folded.clear(); closed.clear(); draw(); });
  on("refold", () => { refold(); closed.clear(); draw(); });
  on("close", () => { refold(); for (const box of boxes) if (box.number) closed.add(box.number); draw(); });
  const turn = (factor) => { zoom = Math.min(3, Math.max(0.1, zoom * factor)); draw(); };
  on("larger", () => turn(1.25));
  on("smaller", () => turn(0.8));
  on("theme", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const list = document.getElementById("groups");
  for (const [k, group] of groups.entries()) {
    if (group.kind === "free" || !list) continue;
    const button = element("button");
    button.type = "button";
    button.append(chip(group), ` ${group.name}`, element("small", group.kind === "protected" ? "protected" : `${group.layers} layers`));
    button.addEventListener("click", () => pin([k]));
    button.addEventListener("pointerenter", () => show([k]));
    button.addEventListener("pointerleave", () => show(pinned));
    button.addEventListener("focus", () => show([k]));
    button.addEventListener("blur", () => show(pinned));
    const entry = element("li");
    entry.append(button);
    list.append(entry);
  }

  draw();
  tell(null);
  globalThis.fxprune = { ready: true };
})();
