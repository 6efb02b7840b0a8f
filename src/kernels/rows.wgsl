// y = W[ids], widened: a workgroup for each id.

const I = {{i}}u;           // numbers of a row
const STORED = {{stored}}u; // rows that lie in the buffers
const FIRST = {{first}}u;   // the first of ours
const BLOCK = {{block}}u;   // numbers of a block

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = u32(ids[group.y]) + FIRST;
    for (var at = lane; at < I; at += 64u) {
        let block = at / BLOCK;
        let k = at % BLOCK;
//! if four
        let q = words[block * STORED + row][(k % 16u) / 4u] >> (8u * (k % 4u) + 4u * (k / 16u));
        let s = unpack2x16float(scales[block * STORED + row]);
        let value = f32(q & 15u) * s.x + s.y;
//! end
//! if eight
        let q = words[(block * 2u + k / 16u) * STORED + row][(k % 16u) / 4u];
        let value = (f32((q >> (8u * (k % 4u))) & 0xffu) - {{offset}}.0)
            * unpack2x16float(scales[block * STORED + row]).x;
//! end
//! if float
        // What is not read has no place in the layout.
        let value = words[(block * 8u + k / 4u) * STORED + row][k % 4u] + f32(scales[0]);
//! end
        y[group.y * I + at] = value;
    }
}
