// The picture as tables: text only ever goes in as text.
import { nodeSign, svg } from "/ring.js";

const SERVICE_LEVELS = { held: "good", moving: "warn", stopped: "bad", failed: "bad", orphaned: "bad" };
const CHECK_LEVELS = { ok: ["good", "✓"], failing: ["bad", "✕"], unknown: ["", "–"] };

export function element(name, text = "", level = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (level) made.className = level;
  return made;
}

function badge(text, level) {
  const cell = element("td");
  cell.append(element("span", text, `state ${level}`));
  return cell;
}

function row(...cells) {
  const made = element("tr");
  made.append(...cells);
  return made;
}

function header(text) {
  const made = element("th", text);
  made.scope = "row";
  return made;
}

function fill(id, rows, nothing) {
  const body = document.querySelector(`#${id} tbody`);
  if (!rows.length) {
    const cell = element("td", nothing, "quiet");
    cell.colSpan = 9;
    rows = [row(cell)];
  }
  body.replaceChildren(...rows);
}

export function services(status) {
  fill("services", status.services.map((service) => {
    const away = service.home && service.home !== "any" && service.home !== service.holder;
    const level = SERVICE_LEVELS[service.state] ?? "warn";
    const state = service.state === "held" && away ? ["⌂ away", "warn"] : [service.state, level];
    const on = service.state === "moving" && service.to ? `${service.holder ?? "nobody"} → ${service.to}` : service.holder ?? "nobody";
    return row(header(service.name), badge(...state), element("td", on), element("td", service.home ?? "?"),
      element("td", service.addresses.join(", ")), element("td", [service.note, service.stranger && `claimed by ${service.stranger}`].filter(Boolean).join("; ")));
  }), "no services");
}

export function nodes(status) {
  const most = Math.max(1, ...status.nodes.map((node) => node.load));
  fill("nodes", status.nodes.map((node) => {
    const [level, sign] = nodeSign(node.state);
    const load = element("td");
    const bar = svg("svg", { class: "load", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(svg("rect", { width: 100, height: 10, rx: 4 }), svg("rect", { width: (100 * node.load) / most, height: 10, rx: 4 }));
    load.className = "narrow";
    load.append(bar, node.load.toFixed(1));
    const links = element("td");
    for (const link of node.links) {
      const [sign, level] = link.state === "up" ? ["✓", "good"] : link.state === "down" ? ["✕", "bad"] : ["–", ""];
      const shown = element("span", `${sign} ${link.device}`, `state ${level}`);
      shown.title = `${link.role} link: ${link.state}`;
      shown.append(element("span", ` ${link.role} ${link.state}`, "hidden"));
      links.append(shown, " ");
    }
    const name = header(node.name);
    if (status.controller === node.name) name.append(" ", element("small", "◆ controller"));
    if (status.node === node.name) name.append(" ", element("small", "this one"));
    const age = (field) => {
      const cell = element("td", "", "number");
      cell.dataset.node = node.name;
      cell.dataset.field = field;
      return cell;
    };
    return row(name, badge(`${sign} ${node.state}`, level), load, links, age("heard_ms"), age("round_trip_ms"), age("lateness_ms"));
  }), "no nodes");
}

export function pulse(ages) {
  for (const cell of document.querySelectorAll("#nodes td[data-field]")) {
    const value = ages.nodes[cell.dataset.node]?.[cell.dataset.field];
    cell.textContent = typeof value !== "number" ? "–" : value < 10 ? `${value.toFixed(1)} ms` : value < 10000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(0)} s`;
  }
}

export function checks(status) {
  const all = [
    ...status.services.flatMap((service) => service.checks.map((check) => [service.name, check])),
    ...status.nodes.flatMap((node) => node.checks.map((check) => [node.name, check])),
  ];
  document.querySelector("#checks-of").textContent = `as ${status.node} sees them`;
  fill("checks", all.map(([of, check]) => {
    const [level, sign] = CHECK_LEVELS[check.state] ?? ["warn", "?"];
    return row(header(check.name), element("td", of), badge(`${sign} ${check.state}`, level), element("td", check.message || "not looked at from here"));
  }), "no checks are configured");
}

// What each node says of whom it hears: the answering one of everybody, the others of their neighbours.
function hears(status, from, to) {
  if (from.name === to.name) return null;
  if (["down"].includes(from.state)) return null;
  if (from.name === status.node) return from.links.length ? to.heard_on.length : null;
  const told = [];
  if (from.left === to.name) told.push(from.links.filter((link) => link.hears_left).length);
  if (from.right === to.name) told.push(from.links.filter((link) => link.hears_right).length);
  const known = from.links.some((link) => typeof link.hears_left === "boolean");
  return told.length && known ? Math.max(...told) : null;
}

export function matrix(status) {
  const head = element("tr");
  const corner = element("td");
  corner.append(element("span", "hears", "hidden"));
  head.append(corner, ...status.nodes.map((node) => {
    const cell = element("th", node.name);
    cell.scope = "col";
    return cell;
  }));
  document.querySelector("#matrix thead").replaceChildren(head);
  fill("matrix", status.nodes.map((from) => {
    const cells = status.nodes.map((to) => {
      const links = hears(status, from, to);
      if (links === null) return element("td", from.name === to.name ? "–" : "", "quiet");
      const [sign, level, words] = [["○", "bad", "on no link"], ["◐", "warn", "on one link"], ["●", "good", "on both links"]][Math.min(links, 2)];
      const cell = element("td", "", level);
      const shown = element("span", sign);
      shown.setAttribute("aria-hidden", "true");
      cell.append(shown, element("span", words, "hidden"));
      cell.title = `${from.name} hears ${to.name} ${words}`;
      return cell;
    });
    return row(header(from.name), ...cells);
  }), "no nodes");
}

export function forecast(status) {
  const section = document.querySelector("#forecast-section");
  const told = status.forecast;
  section.hidden = !told || (Array.isArray(told) && !told.length);
  if (section.hidden) return;
  const words = (value) => typeof value === "object" && value !== null
    ? Object.entries(value).filter(([, part]) => part !== null && part !== "").map(([name, part]) => `${name.replaceAll("_", " ")}: ${words(part)}`).join(" · ")
    : String(value);
  document.querySelector("#forecast").replaceChildren(...(Array.isArray(told) ? told : [told]).map((part) => element("li", words(part))));
}
