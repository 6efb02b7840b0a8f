// The package as a program in TypeScript uses it; only checked, by `cargo xtask test --e2e`.
import init, {
  Playground,
  PlaygroundError,
  type AdapterEntry,
  type ErrorCode,
  type GenerateRequest,
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
    playground.setCoefficient(entry.id, -1);
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
