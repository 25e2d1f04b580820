"use strict";
// The picture in a page: puts cards and boxes in their places again when a run is folded or a module is closed, and
// lights up what would be cut together. The arithmetic of `place` is that of layout.py; a test compares the two.
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

  const n = (value) => String(Math.round(value * 10) / 10);
  const isBox = (item) => item < 0;
  const boxOf = (item) => boxes[-item];
  const make = (tag, attributes, parent) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (parent) parent.append(element);
    return element;
  };

  // ---- places -----------------------------------------------------------------------------------------------------

  const port = (placed, side, value) => {
    const found = placed.ports[side];
    if (found.has(value)) return found.get(value);
    return found.size ? found.values().next().value : 0;
  };

  const leaf = (stop) => {
    const [width, height] = stops[stop].size;
    return { item: stop, left: width / 2, right: width / 2, height, x: 0, y: 0 };
  };

  const titled = (placed, [words, badge]) => {
    if (words + m.title <= m.middle) placed.left = Math.max(placed.left, words + m.title);
    placed.right = Math.max(placed.right, words + m.title + badge - placed.left, badge);
    return placed;
  };

  const onlyFirst = (sheet, box) => {
    const count = box.items.length;
    const ports = sheet.spots.map((_, k) => k).filter((k) => k >= count);
    const top = ports.filter((k) => k < count + sheet.enters.length);
    const bottom = ports.filter((k) => k >= count + sheet.enters.length);
    const lines = [
      ...top.map((k) => [k, 0, sheet.spots[k][1], 0, -1, 0, 1]),
      ...bottom.map((k) => [0, k, sheet.spots[k][1], 0, -1, 0, 1]),
    ];
    return { ...sheet, rows: [top, [0], bottom], lines, lanes: [] };
  };

  const place = (box) => (closed.has(box.number) ? whole(box) : inside(box));

  const whole = (box) => {
    const [, width, height] = box.closed;
    return { item: -box.number, left: width / 2, right: width / 2, height, x: 0, y: 0 };
  };

  const inside = (box) => {
    const shut = box.times > 0 && folded.has(box.number);
    if (shut && isBox(box.items[0])) {
      const placed = inside(boxOf(box.items[0]));
      placed.item = -box.number;
      placed.folded = true;
      return titled(placed, box.room);
    }
    const sheet = shut ? onlyFirst(box.sheet, box) : box.sheet;
    const inner = new Map();
    const shown = new Set(sheet.rows.flat());
    sheet.spots.forEach(([item], k) => {
      if (item !== null && shown.has(k)) inner.set(k, isBox(item) ? place(boxOf(item)) : leaf(item));
    });
    const placed = arrange(box, sheet, inner, box.number > 0);
    placed.folded = shut;
    return titled(placed, box.room);
  };

  const arrange = (box, sheet, inner, framed) => {
    const x = new Map();
    const rowOf = new Map(sheet.rows.flatMap((row, k) => row.map((spot) => [spot, k])));
    const turns = sheet.rows.map(() => 0);
    const nth = sheet.lanes.map(([, first, last]) => {
      const places = [turns[first], turns[last - 1] + (last - 1 === first ? 1 : 0)];
      turns[first] += 1;
      if (last - 1 !== first) turns[last - 1] += 1;
      return places;
    });
    const across = (row) => {
      if (row.every((spot) => !inner.has(spot))) {
        row.forEach((spot, k) => x.set(spot, (k - (row.length - 1) / 2) * m.port));
        return [(row.length * m.port) / 2, (row.length * m.port) / 2];
      }
      const held = row.map((spot) => inner.get(spot));
      if (held.length === 1) {
        x.set(row[0], 0);
        return [held[0].left, held[0].right];
      }
      const width = held.reduce((sum, card) => sum + card.left + card.right, 0) + m.beside * (held.length - 1);
      let at = -width / 2;
      row.forEach((spot, k) => {
        x.set(spot, at + held[k].left);
        at += held[k].left + held[k].right + m.beside;
      });
      return [width / 2, width / 2];
    };
    const reaches = sheet.rows.map(across);
    const heights = sheet.rows.map((row) => Math.max(0, ...row.filter((s) => inner.has(s)).map((s) => inner.get(s).height)));
    const tops = [];
    let at = sheet.enters.length || !framed ? 0 : m.header + m.pad;
    heights.forEach((height, k) => {
      tops.push(at);
      at += height + m.gap + m.turn * Math.max(0, turns[k] - 1);
      if (k === 0 && sheet.enters.length) at += m.header - m.gap / 2;
    });
    const lanes = [];
    sheet.lanes.forEach(([side, first, last], k) => {
      let edge = 0;
      for (let row = first + 1; row < last; row += 1) edge = Math.max(edge, reaches[row][side < 0 ? 0 : 1]);
      for (let other = 0; other < k; other += 1) {
        const [theirs, start, end] = sheet.lanes[other];
        if (theirs === side && first < end && start < last) edge = Math.max(edge, Math.abs(lanes[other]));
      }
      lanes.push(side * (edge + m.lane));
    });
    const pad = framed ? m.pad : 0;
    const end = tops[tops.length - 1] + heights[heights.length - 1];
    const placed = {
      item: -box.number,
      left: Math.max(0, ...reaches.map(([left]) => left), ...lanes.map((lane) => -lane)) + pad,
      right: Math.max(0, ...reaches.map(([, right]) => right), ...lanes) + pad,
      height: end + (sheet.leaves.length || !framed ? 0 : m.pad),
      x: 0,
      y: 0,
      inside: [],
      ports: { enters: new Map(), leaves: new Map() },
    };
    for (const [k, card] of inner) {
      const row = rowOf.get(k);
      card.x = x.get(k);
      card.y = tops[row] + (heights[row] - card.height) / 2;
      placed.inside.push(card);
    }
    sheet.spots.forEach(([item, value], k) => {
      if (item === null && x.has(k)) placed.ports[rowOf.get(k) === 0 ? "enters" : "leaves"].set(value, x.get(k));
    });
    placed.wires = sheet.lines.map(([source, target, value, residual, lane, slot, slots]) => {
      const start = rowOf.get(source);
      const from = inner.get(source);
      const x1 = from ? from.x + (from.ports ? port(from, "leaves", value) : 0) : x.get(source);
      const y1 = from ? from.y + from.height : tops[start];
      const to = inner.get(target);
      const stop = Boolean(to && !to.ports);
      let x2 = x.get(target);
      if (to && stop) x2 = to.x + (slot - (slots - 1) / 2) * Math.min(m.slot, (to.left + to.right) / (slots + 1));
      else if (to) x2 = to.x + port(to, "enters", value);
      const y2 = to ? to.y : tops[rowOf.get(target)];
      const floor = tops[start] + heights[start] + (start === 0 && sheet.enters.length ? m.header : 0);
      const ceiling = tops[rowOf.get(target)];
      const path =
        lane < 0
          ? `M${n(x1)} ${n(y1)}${down(y1, floor)}${bend(x1, floor, x2, ceiling)}${down(ceiling, y2)}`
          : around(x1, y1, floor + 7 + m.turn * nth[lane][0], lanes[lane], ceiling - 11 - m.turn * nth[lane][1], x2, y2);
      return { path, value, residual, arrow: stop };
    });
    return placed;
  };

  const down = (y1, y2) => (y2 - y1 > 0.5 ? `V${n(y2)}` : "");
  const bend = (x1, y1, x2, y2) => {
    if (Math.abs(x1 - x2) < 0.5) return `V${n(y2)}`;
    const middle = (y1 + y2) / 2;
    return `C${n(x1)} ${n(middle)} ${n(x2)} ${n(middle)} ${n(x2)} ${n(y2)}`;
  };
  const around = (x1, y1, out, lane, back, x2, y2) => {
    const a = lane > x1 ? 1 : -1;
    const b = x2 > lane ? 1 : -1;
    const r = Math.min(6, Math.abs(lane - x1) / 2, Math.abs(x2 - lane) / 2, Math.max(0, (back - out) / 2));
    return (
      `M${n(x1)} ${n(y1)}V${n(out - r)}Q${n(x1)} ${n(out)} ${n(x1 + a * r)} ${n(out)}` +
      `H${n(lane - a * r)}Q${n(lane)} ${n(out)} ${n(lane)} ${n(out + r)}` +
      `V${n(back - r)}Q${n(lane)} ${n(back)} ${n(lane + b * r)} ${n(back)}` +
      `H${n(x2 - b * r)}Q${n(x2)} ${n(back)} ${n(x2)} ${n(back + r)}V${n(y2)}`
    );
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
