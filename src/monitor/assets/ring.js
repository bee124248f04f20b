// The ring: nodes in a circle, heartbeats between neighbours, services beside who holds them. Elements are
// kept from picture to picture, so that what moves is seen to move.
const SVG = "http://www.w3.org/2000/svg";
const CENTRE = { x: 360, y: 260 };
const RADIUS = { x: 262, y: 186 };
const NODE_SIGNS = { up: ["good", "✓"], suspect: ["warn", "?"], down: ["bad", "✕"], joining: ["warn", "…"], standby: ["warn", "⏸"], leaving: ["warn", "→"] };

export function nodeSign(state) {
  return NODE_SIGNS[state] ?? ["warn", "?"];
}

export function svg(name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// One element for each key, made when it appears, removed when it goes.
class Kept {
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.known = new Map();
  }
  show(keys) {
    for (const [key, element] of this.known) {
      if (!keys.includes(key)) {
        element.remove();
        this.known.delete(key);
      }
    }
    return keys.map((key) => {
      if (!this.known.has(key)) {
        const element = this.make(key);
        this.parent.append(element);
        this.known.set(key, element);
      }
      return this.known.get(key);
    });
  }
}

export class Ring {
  constructor(root) {
    this.root = root;
    const layer = (name) => root.appendChild(svg("g", { class: name }));
    this.arcs = new Kept(layer("arcs"), () => {
      const group = svg("g");
      group.append(svg("path", { class: "arc" }), svg("path", { class: "beat", pathLength: 100 }));
      return group;
    });
    this.nodes = new Kept(layer("nodes"), () => {
      const group = svg("g");
      group.append(svg("circle", { class: "disc" }), svg("text", { class: "name" }), svg("text", { class: "word" }), svg("text", { class: "crown" }));
      return group;
    });
    this.services = new Kept(layer("services"), () => {
      const group = svg("g");
      group.append(svg("rect", { class: "chip", rx: 9 }), svg("text"), svg("title"));
      return group;
    });
    this.middle = layer("middle-words").appendChild(svg("text", { class: "middle", x: CENTRE.x, y: CENTRE.y }));
  }

  draw(status) {
    const count = status.nodes.length;
    const size = Math.max(16, Math.min(46, 260 / Math.sqrt(count * 4)));
    const places = new Map(status.nodes.map((node, index) => {
      const angle = (index / count) * 2 * Math.PI - Math.PI / 2;
      return [node.name, { x: CENTRE.x + RADIUS.x * Math.cos(angle), y: CENTRE.y + RADIUS.y * Math.sin(angle), angle }];
    }));
    this.drawNodes(status, places, size);
    this.drawArcs(status, places, size);
    this.drawServices(status, places, size);
    this.root.setAttribute("aria-label", this.words(status));
  }

  drawNodes(status, places, size) {
    const groups = this.nodes.show(status.nodes.map((node) => node.name));
    status.nodes.forEach((node, index) => {
      const { x, y } = places.get(node.name);
      const [level, sign] = nodeSign(node.state);
      const [disc, name, word, crown] = groups[index].children;
      groups[index].setAttribute("class", `node ${level}`);
      for (const [key, value] of [["cx", x], ["cy", y], ["r", size]]) disc.setAttribute(key, value);
      const put = (text, words, dy) => {
        text.setAttribute("x", x);
        text.setAttribute("y", y + dy);
        text.textContent = words;
      };
      const roomy = size > 30;
      put(name, node.name, roomy ? -1 : size + 15);
      put(word, roomy ? `${sign} ${node.state}` : sign, roomy ? 17 : 5);
      put(crown, status.controller === node.name ? "◆ controller" : "", y < CENTRE.y ? -size - 8 : size + 17 + (roomy ? 0 : 13));
    });
  }

  drawArcs(status, places, size) {
    const byName = new Map(status.nodes.map((node) => [node.name, node]));
    const arcs = status.nodes.filter((node) => node.right && places.has(node.right) && node.right !== node.name);
    const groups = this.arcs.show(arcs.map((node) => `${node.name}→${node.right}`));
    arcs.forEach((node, index) => {
      const right = byName.get(node.right);
      const [from, to] = [places.get(node.name), places.get(node.right)];
      const [dx, dy] = [to.x - from.x, to.y - from.y];
      const length = Math.hypot(dx, dy) || 1;
      // Outwards: to the left of who goes round clockwise.
      const bend = { x: (from.x + to.x) / 2 + dy * 0.2, y: (from.y + to.y) / 2 - dx * 0.2 };
      const edge = (at) => {
        const [ex, ey] = [bend.x - at.x, bend.y - at.y];
        const away = Math.hypot(ex, ey) || 1;
        const step = Math.min(size + 4, length / 3);
        return `${at.x + (ex / away) * step} ${at.y + (ey / away) * step}`;
      };
      const path = `M ${edge(from)} Q ${bend.x} ${bend.y} ${edge(to)}`;
      const silent = ["suspect", "down"].includes(node.state) || ["suspect", "down"].includes(right.state);
      const told = right.links.filter((link) => link.hears_left !== null && link.hears_left !== undefined);
      const cut = silent || (told.length > 0 && told.every((link) => !link.hears_left));
      const [arc, beat] = groups[index].children;
      arc.setAttribute("d", path);
      arc.setAttribute("class", cut ? "arc cut" : "arc");
      beat.setAttribute("d", path);
      beat.toggleAttribute("hidden", cut);
      beat.setAttribute("visibility", cut ? "hidden" : "visible");
    });
  }

  drawServices(status, places, size) {
    const width = size > 30 ? 92 : 60;
    const height = size > 30 ? 26 : 20;
    const isLost = (service) => !places.has(service.holder) || !["held", "moving"].includes(service.state)
      || status.nodes.some((node) => node.name === service.holder && ["down", "suspect"].includes(node.state));
    const keyOf = (service) => (isLost(service) ? null : service.holder);
    const count = new Map();
    for (const service of status.services) count.set(keyOf(service), (count.get(keyOf(service)) ?? 0) + 1);
    const beside = new Map();
    const groups = this.services.show(status.services.map((service) => service.name));
    status.services.forEach((service, index) => {
      const lost = isLost(service);
      const key = keyOf(service);
      const before = beside.get(key) ?? 0;
      beside.set(key, before + 1);
      let at;
      if (lost) {
        at = { x: CENTRE.x, y: CENTRE.y + 30 + before * (height + 6) };
      } else {
        const { x, y, angle } = places.get(service.holder);
        const inward = size + width / 2 + 6;
        // In a column beside the node, or in a row below or above it, where the room is.
        const slot = before - (count.get(key) - 1) / 2;
        const side = Math.abs(Math.cos(angle)) > 0.35;
        at = side
          ? { x: x - Math.sign(Math.cos(angle)) * inward, y: y + slot * (height + 5) }
          : { x: x + slot * (width + 6), y: y - Math.sign(Math.sin(angle)) * (size + height / 2 + 8) };
      }
      const away = service.home && service.home !== "any" && service.home !== service.holder;
      const group = groups[index];
      const [chip, text, title] = group.children;
      group.setAttribute("class", `service ${lost ? "lost" : service.state === "moving" ? "moving" : away ? "away" : ""}`);
      group.style.transform = `translate(${at.x}px, ${at.y}px)`;
      for (const [name, value] of [["x", -width / 2], ["y", -height / 2], ["width", width], ["height", height]]) chip.setAttribute(name, value);
      text.setAttribute("y", 5);
      text.textContent = lost ? `✕ ${service.name}` : service.state === "moving" ? `→ ${service.name}` : away ? `⌂ ${service.name}` : service.name;
      title.textContent = `${service.name}: ${service.state}, ${lost ? "served by nobody" : `on ${service.holder}`}`;
    });
    this.middle.textContent = beside.has(null) ? "served by nobody" : "";
  }

  words(status) {
    const nodes = status.nodes.map((node) => {
      const holds = status.services.filter((service) => service.holder === node.name).map((service) => service.name);
      return `${node.name} ${node.state}${status.controller === node.name ? ", controller" : ""}${holds.length ? `, holds ${holds.join(", ")}` : ""}`;
    });
    return `The ring: ${nodes.join("; ")}`;
  }
}
