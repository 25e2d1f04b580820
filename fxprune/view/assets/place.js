"use strict";
// Where cards and boxes go, with some runs folded and some modules closed. The arithmetic is that of layout.py; a test
// compares the two.
const places = ({ metrics: m, stops, boxes }, folded, closed) => {
  const n = (value) => String(Math.round(value * 10) / 10);
  const isBox = (item) => item < 0;
  const boxOf = (item) => boxes[-item];

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

  return { n, isBox, boxOf, place };
};
