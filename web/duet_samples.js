// The sample clips of the example graphs: copied into ComfyUI's input folder when a graph that names one is opened.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const SAMPLES = ["duet_drum.mp4", "duet_late.mp4"];

async function missing(name) {
  const found = await api.fetchApi(`/view?filename=${name}&type=input`, { method: "HEAD" });
  return found.status === 404;
}

async function copy(name) {
  const sample = await fetch(new URL(`samples/${name}`, import.meta.url));
  const body = new FormData();
  body.append("image", new File([await sample.blob()], name, { type: "video/mp4" }));
  body.append("type", "input");
  await api.fetchApi("/upload/image", { method: "POST", body });
}

app.registerExtension({
  name: "duet.samples",
  async beforeConfigureGraph(graph) {
    const values = (graph?.nodes ?? []).flatMap((node) => node.widgets_values ?? []);
    const absent = [];
    for (const name of SAMPLES) if (values.includes(name) && (await missing(name))) absent.push(name);
    if (absent.length === 0) return;
    await Promise.all(absent.map(copy));
    await app.refreshComboInNodes();
  },
});
