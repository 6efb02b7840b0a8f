// The package as a program in TypeScript uses it; only checked, by `cargo xtask test --e2e`.
import init, {
  Playground,
  PlaygroundError,
  type AdapterEntry,
  type ErrorCode,
  type GenerateRequest,
  type HubOffer,
  type LoadProgress,
  type Step,
} from "../pkg/steering_playground.js";

export async function complete(model: Blob | string, weights: Uint8Array): Promise<string> {
  await init();
  const playground = await Playground.create({ device: "auto" });
  try {
    const onProgress = ({ bytes, totalBytes }: LoadProgress): void => console.log(bytes / totalBytes);
    await playground.loadModel(model, { onProgress });
    const entry: AdapterEntry = await playground.loadAdapter({ name: "a", weights });
    const offers: HubOffer[] = await Playground.listHub("hub:owner/name", { hub: "https://huggingface.co" });
    const [adapter] = offers.filter((offer) => offer.adapter);
    if (adapter) await playground.loadAdapter(await Playground.fetchAdapter(adapter.id, { onProgress }));
    playground.setCoefficient(entry.id, -1);
    playground.setMask(entry.id, "5-20", "all");
    playground.setMask(entry.id, entry.maskLayers, entry.maskModules, "generated");
    const request: GenerateRequest = { prompt: "Once", maxTokens: 3, compare: true };
    let text = "";
    for await (const step of playground.generate(request)) text += textOf(step);
    return text;
  } catch (error) {
    if (error instanceof PlaygroundError) {
      const code: ErrorCode = error.code;
      return code;
    }
    throw error;
  } finally {
    playground[Symbol.dispose]();
  }
}

function textOf(step: Step): string {
  if (step.kind === "prefill") return "";
  return step.steered?.text ?? step.base?.text ?? "";
}
