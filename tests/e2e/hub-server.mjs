// A server that behaves like the Hugging Face Hub, as far as a page can tell: listings in pages, files
// behind a redirect to another port, whose headers a page may not read, and repositories with faults.
import { createHash } from "node:crypto";
import http from "node:http";

/** What the Hub lets a page read of its answers. */
const SHARED = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "X-Repo-Commit,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag",
};
/** Entries of a page of a listing: so few that every repository has several. */
const PAGE = 2;

const hash = (/** @type {string} */ kind, /** @type {Buffer} */ body) => createHash(kind).update(body).digest("hex");
const isLarge = (/** @type {string} */ path) => /\.(gguf|safetensors|bin)$/.test(path);

/**
 * A repository: its files, and what is wrong with it. `gated` lists itself and gives no file, as there;
 * `unshared` sends no CORS headers; `lies` names a file whose listed SHA-256 is another's.
 * @typedef {{files: Record<string, Buffer>, gated?: boolean, unshared?: boolean, lies?: string}} Repository
 */

/**
 * `cut`: ends the next file after so many bytes. `gone`: answers nothing. `log`: which files were given, and from where on.
 * @param {Record<string, Repository>} repositories
 */
export async function startHub(repositories) {
  const hub = { url: "", cut: /** @type {number|null} */ (null), gone: false, log: /** @type {{path: string, range?: string, status: number}[]} */ ([]), close: () => {} };
  const store = await listen((request, response) => {
    if (hub.gone) return request.socket.destroy();
    const path = decodeURIComponent(new URL(request.url ?? "", "http://store").pathname.slice(1));
    const [owner, name, ...rest] = path.split("/");
    const body = repositories[`${owner}/${name}`].files[rest.join("/")];
    // Neither ETag nor Content-Range may be read.
    const headers = { "access-control-allow-origin": "*", "content-type": "application/octet-stream", "accept-ranges": "bytes" };
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const status = request.headers.range ? 206 : 200;
    hub.log.push({ path, range: request.headers.range, status });
    response.writeHead(status, {
      ...headers, "content-length": body.length - from, ...status === 206 ? { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` } : {},
    });
    if (request.method === "HEAD") return response.end();
    if (hub.cut === null) return response.end(body.subarray(from));
    response.write(body.subarray(from, from + hub.cut));
    hub.cut = null;
    // What was sent takes a moment to arrive.
    setTimeout(() => request.socket.destroy(), 2000);
  });
  const front = await listen((request, response) => {
    if (hub.gone) return request.socket.destroy();
    const url = new URL(request.url ?? "", "http://hub");
    const [, repository, revision, path] = /^\/(?:api\/models\/)?([^/]+\/[^/]+)\/(?:tree|resolve)\/([^/]+)(?:\/(.*))?$/.exec(url.pathname) ?? [];
    const found = repositories[repository];
    const headers = found?.unshared ? {} : SHARED;
    const refuse = (/** @type {number} */ status, /** @type {string} */ code) => response.writeHead(status, { ...headers, "x-error-code": code }).end(code);
    if (!found) return refuse(401, "RepoNotFound");
    if (revision !== "main") return refuse(404, "RevisionNotFound");
    if (url.pathname.startsWith("/api/")) {
      const from = Number(url.searchParams.get("cursor") ?? 0);
      const paths = Object.keys(found.files).sort();
      const next = new URL(url.href.replace(url.origin, hub.url));
      next.searchParams.set("cursor", String(from + PAGE));
      const link = from + PAGE < paths.length ? { link: `<${next}>; rel="next"` } : {};
      response.writeHead(200, { ...headers, ...link, "content-type": "application/json" });
      return response.end(JSON.stringify(paths.slice(from, from + PAGE).map((path) => entry(path, found))));
    }
    if (found.gated) return refuse(401, "GatedRepo");
    const file = decodeURIComponent(path ?? "");
    if (!found.files[file]) return refuse(404, "EntryNotFound");
    response.writeHead(302, { ...headers, location: `${store.url}/${repository}/${path}` }).end();
  });
  hub.url = front.url;
  hub.close = () => { front.close(); store.close(); };
  return hub;
}

/** @param {string} path @param {Repository} repository */
function entry(path, { files, lies }) {
  const body = files[path];
  const git = hash("sha1", Buffer.concat([Buffer.from(`blob ${body.length}\0`), body]));
  const lfs = { oid: hash("sha256", path === lies ? Buffer.from("another") : body), size: body.length, pointerSize: 130 };
  return { type: "file", oid: git, size: body.length, path, ...isLarge(path) ? { lfs } : {} };
}

/** @param {http.RequestListener} answer */
async function listen(answer) {
  const server = http.createServer(answer);
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", () => resolve(undefined)); });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, close: () => { server.closeAllConnections(); server.close(); } };
}
