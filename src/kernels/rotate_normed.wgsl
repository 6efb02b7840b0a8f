// RMSNorm of the queries and keys of one token, each head by itself or, with `whole`, all of a kind
// together, then their rotary embedding, where they have one, and the cache write. What is normed together
// is a workgroup's or, without barriers, a thread's. `turn` is (position of the first token, capacity,
// tokens).

const THREADS = {{threads}}u;
const HEADS = {{heads}}u;
const KV_HEADS = {{kv_heads}}u;
const HD = {{hd}}u;
const HALF = HD / 2u;
const ALL = HEADS + 2u * KV_HEADS; // heads of a row of qkv
const UNITS = {{units}}u;          // of heads that are normed together, and of values, which are not
const EPSILON = {{epsilon}};

var<workgroup> parts: array<f32, THREADS>; //! if shared

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
//! if shared
    let unit = group.x;
    let start = lane;
    let step = THREADS;
//! else
    let unit = group.x * THREADS + lane;
    if unit >= UNITS { return; }
    let start = 0u;
    let step = 1u;
//! end
//! if whole
    let head = min(unit, 1u) * HEADS + unit / 2u * KV_HEADS;
    let heads = select(KV_HEADS, HEADS, unit == 0u);
//! else
    let head = unit;
    let heads = 1u;
//! end
    let t = group.y;
    let position = u32(turn[0]) + t;
    let row = (t * ALL + head) * HD;
    var sum = 0.0;
    for (var k = start; k < heads * HD; k += step) {
        sum += qkv[row + k] * qkv[row + k];
    }
//! if shared
    parts[lane] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var k = 0u; k < THREADS; k += 1u) {
        sum += parts[k];
    }
//! end
    let mean = sum / f32(heads * HD) + EPSILON;
    // NaN where squares overflow, as in other norms.
    let bits = bitcast<u32>(mean);
    let scale = select(inverseSqrt(mean), bitcast<f32>(bits | 0x7fc00000u), bits >= 0x7f800000u);
    for (var pair = start; pair < heads * HALF; pair += step) {
        let k = pair % HALF;
        let own = head + pair / HALF;
        let origin = (t * ALL + own) * HD + k;
        let a = qkv[origin];
        let b = qkv[origin + HALF];
        if own >= HEADS + KV_HEADS {
            let to = ((own - (HEADS + KV_HEADS)) * u32(turn[1]) + position) * HD + k;
            values[to] = a;
            values[to + HALF] = b;
            continue;
        }
        let gain = own * HD + k; //! if whole
        let gain = select(0u, HD, own >= HEADS) + k; //! if not whole
        let x = a * scale * gains[gain];
        let y = b * scale * gains[gain + HALF];
//! if rotates
        let c = cosine[position * HALF + k];
        let s = sine[position * HALF + k];
        let first = x * c - y * s;
        let second = y * c + x * s;
//! else
        let first = x;
        let second = y;
//! end
        if own >= HEADS {
            let to = ((own - HEADS) * u32(turn[1]) + position) * HD + k;
            keys[to] = first;
            keys[to + HALF] = second;
        } else {
            let to = (t * HEADS + own) * HD + k;
            q[to] = first;
            q[to + HALF] = second;
        }
    }
}
