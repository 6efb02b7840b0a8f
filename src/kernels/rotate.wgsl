// Rotary embedding of the queries and keys of one token, where they have one, and the cache write: a thread
// for each pair of numbers. `turn` is (position of the first token, capacity, tokens).

const THREADS = {{threads}}u;
const HEADS = {{heads}}u;
const KV_HEADS = {{kv_heads}}u;
const HD = {{hd}}u;
const HALF = HD / 2u;
const ALL = HEADS + 2u * KV_HEADS; // heads of a row of qkv

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * THREADS + lane;
    if at >= ALL * HALF { return; }
    let t = group.y;
    let position = u32(turn[0]) + t;
    let head = at / HALF;
    let k = at % HALF;
    let origin = (t * ALL + head) * HD + k;
    let a = qkv[origin];
    let b = qkv[origin + HALF];
    if head >= HEADS + KV_HEADS {
        let to = ((head - (HEADS + KV_HEADS)) * u32(turn[1]) + position) * HD + k;
        values[to] = a;
        values[to + HALF] = b;
        return;
    }
//! if rotates
    let c = cosine[position * HALF + k];
    let s = sine[position * HALF + k];
    let first = a * c - b * s;
    let second = b * c + a * s;
//! else
    let first = a;
    let second = b;
//! end
    if head >= HEADS {
        let to = ((head - HEADS) * u32(turn[1]) + position) * HD + k;
        keys[to] = first;
        keys[to + HALF] = second;
    } else {
        let to = (t * HEADS + head) * HD + k;
        q[to] = first;
        q[to + HALF] = second;
    }
}
