// Actions, if the monitor allows them. The token stays in its field: it is in no cookie and in no storage.
const find = (id) => document.getElementById(id);
const WORDS = {
  move: (service, node) => `Move ${service} to ${node}?`,
  failback: (service) => `Bring ${service} home?`,
  standby: (_, node) => `Set ${node} on standby? Its services go elsewhere.`,
  online: (_, node) => `Put ${node} back into service?`,
  freeze: () => "Freeze? Nothing moves by itself any more, except from the dead.",
  thaw: () => "Thaw? Automatic moves go on.",
};
const FIELDS = { move: ["service", "node"], failback: ["service"], standby: ["node"], online: ["node"], freeze: [], thaw: [] };

export function offer({ monitor, status }) {
  find("actions-section").hidden = !monitor.actions;
  if (!monitor.actions || !status) return;
  choose(find("act-service"), status.services.map((service) => service.name));
  choose(find("act-node"), status.nodes.map((node) => node.name));
}

function choose(select, names) {
  if ([...select.options].map((option) => option.value).join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
}

function confirmed(words) {
  const dialog = find("sure");
  find("sure-text").textContent = words;
  return new Promise((resolve) => {
    const end = (answer) => () => {
      dialog.onclose = null;
      dialog.close();
      resolve(answer);
    };
    find("sure-no").onclick = end(false);
    find("sure-yes").onclick = end(true);
    dialog.onclose = () => resolve(false);
    dialog.showModal();
  });
}

async function act(action) {
  const answer = find("answer");
  const token = find("token").value.trim();
  if (!token) {
    answer.textContent = "The token is missing: the monitor printed it when it started.";
    find("token").focus();
    return;
  }
  const chosen = { service: find("act-service").value, node: find("act-node").value };
  if (!(await confirmed(WORDS[action](chosen.service, chosen.node)))) return;
  answer.textContent = "asked …";
  try {
    const body = Object.fromEntries([["action", action], ...FIELDS[action].map((field) => [field, chosen[field]])]);
    const headers = { "Authorization": `Bearer ${token}`, "Content-Type": "application/json" };
    const said = await fetch("/actions", { method: "POST", headers, body: JSON.stringify(body) });
    const words = (await said.text()).trim();
    answer.textContent = said.ok ? `${WORDS[action](chosen.service, chosen.node).split("?")[0]}: ${words}` : `REFUSED: ${words}`;
  } catch (error) {
    answer.textContent = `The monitor does not answer: ${error.message}`;
  }
}

for (const button of document.querySelectorAll("[data-action]")) button.addEventListener("click", () => act(button.dataset.action));
find("actions").addEventListener("submit", (event) => event.preventDefault());
