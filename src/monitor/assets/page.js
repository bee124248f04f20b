// What the monitor tells (server-sent events `state`, `log`, `pulse`) → the page.
import { Ring, svg } from "/ring.js";
import * as tables from "/tables.js";
import * as actions from "/actions.js";

const EVENTS_SHOWN = 100;
const STRIP_MS = 10 * 60 * 1000;
// A monitor that lives says so at least once a second.
const SILENCE_MS = 4000;

const find = (id) => document.getElementById(id);
const ring = new Ring(find("ring"));
let picture = null;
let events = [];
let heard = 0;

function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toLocaleTimeString([], { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0");
}

function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`;
}

// What is wrong, the worst first: [level, words].
function troubles(status) {
  const found = [];
  const state = (node) => status.nodes.find((it) => it.name === node)?.state;
  if (!status.quorum) found.push(["bad", `NO QUORUM: ${status.node} serves nothing, and sees only itself`]);
  for (const service of status.services) {
    const where = service.addresses.join(", ");
    if (service.state === "orphaned") found.push(["bad", `ORPHANED: ${service.stranger ?? "somebody"}, outside the cluster, has an address of ${service.name}`]);
    else if (!service.holder || ["stopped", "failed"].includes(service.state)) found.push(["bad", `NOT SERVED: ${service.name} (${where})${service.note ? `: ${service.note}` : ""}`]);
    else if (["down", "suspect"].includes(state(service.holder))) found.push(["bad", `IN DOUBT: ${service.name} (${where}) is on ${service.holder}, which is ${state(service.holder)}`]);
    if (service.state === "held" && service.stranger) found.push(["bad", `CONFLICT: ${service.stranger} claims an address of ${service.name} too`]);
  }
  if (status.frozen) found.push(["warn", "FROZEN: no automatic moves except from the dead"]);
  for (const node of status.nodes) {
    if (node.state !== "up") found.push([node.state === "down" ? "bad" : "warn", `${node.name} is ${node.state === "standby" ? "on standby" : node.state}`]);
    for (const link of node.links) if (link.state === "down") found.push(["warn", `${node.name}: its ${link.role} link ${link.device} is down`]);
    for (const check of node.checks) if (check.state === "failing") found.push(["warn", `check ${check.name} of ${node.name} fails: ${check.message}`]);
  }
  for (const service of status.services) {
    for (const check of service.checks) if (check.state === "failing") found.push(["warn", `check ${check.name} of ${service.name} fails: ${check.message}`]);
  }
  const digests = new Set(status.nodes.map((node) => node.config_digest).filter(Boolean));
  if (digests.size > 1) found.push(["warn", "CONFIGURATIONS DIFFER: the nodes do not have the same diehard.conf"]);
  return found;
}

function away(status) {
  const found = status.services.filter((service) => service.holder && service.home && service.home !== "any" && service.home !== service.holder && service.state === "held");
  return found.map((service) => `${service.name} (of ${service.home}) is served by ${service.holder}`);
}

function headline(status, found, outages) {
  const served = status.services.filter((service) => service.state === "held").length;
  const lost = found.filter(([level, words]) => level === "bad" && !/ is down$/.test(words));
  const level = lost.length ? "bad" : found.length || away(status).length ? "warn" : "good";
  const up = status.nodes.filter((node) => node.state === "up").length;
  const sum = `${up} of ${status.nodes.length} nodes up, ${served} of ${status.services.length} services served`;
  const words = level === "good" ? `✓ All is well: ${sum}, each at home`
    : level === "warn" ? `▲ Served, but not as it should be: ${sum}` : `✕ Trouble: ${sum}`;
  const line = find("headline");
  const last = outages.findLast((outage) => outage.to);
  const details = [...away(status)];
  if (last) details.push(`last outage: ${last.service}, ${duration(last.outage_ms)}, ${last.from ?? "nobody"} → ${last.to}, at ${clock(last.time)}`);
  const shown = [words, ...details.map((words) => words)];
  if (line.dataset.shown === shown.join("\n") && document.body.dataset.level === level) return;
  line.dataset.shown = shown.join("\n");
  line.replaceChildren(words, ...details.map((words) => tables.element("small", words)));
  document.body.dataset.level = level;
  document.title = `${words[0]} ${status.cluster}: ${sum}`;
}

function alarms(list) {
  const box = find("alarms");
  const text = JSON.stringify(list);
  // Read aloud again only if it changed.
  if (box.dataset.shown === text) return;
  box.dataset.shown = text;
  box.replaceChildren(...list.map(([level, words]) => tables.element("p", words, level)));
}

function stale(words) {
  document.body.classList.add("stale");
  document.body.dataset.live = "no";
  document.body.dataset.level = "bad";
  document.title = `✕ ${picture?.status?.cluster ?? "Diehard"}: no news`;
  alarms([["loud", words]]);
  find("headline").dataset.shown = "";
  find("headline").replaceChildren("✕ What follows is OLD: it may not be so any more");
}

function show() {
  const { status, reachable, trouble, since, outages } = picture;
  if (status) {
    find("cluster").textContent = status.cluster;
    find("facts").textContent = `seen from ${status.node} · ${status.controller ? `controller ${status.controller}` : "no controller"} · ${status.quorum ? "quorum" : "no quorum"} · epoch ${status.epoch} · heartbeat every ${status.hello_interval_ms} ms`;
    ring.draw(status);
    for (const draw of [tables.services, tables.nodes, tables.checks, tables.matrix, tables.forecast]) draw(status);
  }
  actions.offer(picture);
  timeline();
  if (!reachable) {
    find("connection-text").textContent = "daemon unreachable";
    return stale(`THE DAEMON DOES NOT ANSWER, since ${clock(since)}: ${trouble}`);
  }
  document.body.classList.remove("stale");
  document.body.dataset.live = "yes";
  find("connection-text").textContent = "live";
  const found = troubles(status);
  alarms(found);
  headline(status, found, outages);
}

function timeline() {
  const outages = (picture?.outages ?? []).map((outage) => ({
    time: outage.time,
    level: outage.outage_ms >= 1000 || !outage.to ? "outage" : "outage brief",
    words: outage.to ? `OUTAGE of ${outage.service}: ${duration(outage.outage_ms)}, ${outage.from ?? "nobody"} → ${outage.to}` : `${outage.service} is served by NOBODY${outage.from ? ` (was ${outage.from})` : ""}`,
  }));
  // Of the same moment, the later number first.
  const all = [...events.toReversed().map((entry) => ({ time: entry.time, level: "", words: entry.node ? `${entry.node}: ${entry.text}` : entry.text })), ...outages];
  all.sort((one, other) => (one.time < other.time ? 1 : one.time > other.time ? -1 : 0));
  find("timeline").replaceChildren(...all.slice(0, EVENTS_SHOWN).map(({ time, level, words }) => {
    const item = tables.element("li", "", level);
    const stamp = tables.element("time", clock(time));
    stamp.dateTime = time;
    stamp.title = time;
    item.append(stamp, tables.element("span", words));
    return item;
  }));
  strip();
}

function strip() {
  const now = Date.now();
  const at = (time) => 600 - (600 * (now - Date.parse(time))) / STRIP_MS;
  const parts = [svg("line", { class: "axis", x1: 0, x2: 600, y1: 26, y2: 26 })];
  for (const entry of events) {
    const x = at(entry.time);
    if (x >= 0) parts.push(svg("line", { class: "event", x1: x, x2: x, y1: 20, y2: 32 }));
  }
  let gaps = 0;
  for (const outage of picture?.outages ?? []) {
    const end = outage.to ? at(outage.time) : 600;
    const begin = outage.to ? end - (600 * outage.outage_ms) / STRIP_MS : at(outage.time);
    if (end < 0) continue;
    gaps += 1;
    parts.push(svg("rect", { class: "gap", x: Math.max(0, begin - 1.5), y: 8, width: Math.max(4, end - begin), height: 18, rx: 2 }));
  }
  for (const [x, anchor, words] of [[0, "start", "10 min ago"], [600, "end", "now"]]) parts.push(svg("text", { x, y: 42, "text-anchor": anchor }, words));
  find("strip").replaceChildren(...parts);
  find("strip").setAttribute("aria-label", `The last ten minutes: ${gaps} outages`);
}

const source = new EventSource("/events");
const listen = (name, act) => source.addEventListener(name, (message) => {
  heard = performance.now();
  act(JSON.parse(message.data));
});
listen("state", (told) => {
  picture = told;
  show();
});
listen("log", (told) => {
  events = [...events, ...told].slice(-500);
  timeline();
});
listen("pulse", (told) => tables.pulse(told));
source.addEventListener("open", () => {
  heard = performance.now();
  // A new connection is told everything anew.
  events = [];
  if (picture) show();
});
source.addEventListener("error", lost);
function lost() {
  find("connection-text").textContent = "monitor unreachable";
  stale("THE MONITOR DOES NOT ANSWER: what is shown is old; this page goes on trying");
}
setInterval(() => {
  if (heard && performance.now() - heard > SILENCE_MS) lost();
  strip();
}, 1000);
