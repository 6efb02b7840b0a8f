// y = W[ids], widened: a workgroup for each id, for those whose rows lie here.

const I4 = {{i4}}u;         // fours of a row
const STORED = {{stored}}u; // rows that lie in the buffers
const FIRST = {{first}}u;   // the first of ours

//! put numbers

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = u32(ids[group.y]);
    if id < {{from}}u || id >= {{end}}u { return; }
    let row = id - {{from}}u + FIRST;
    for (var at = lane; at < I4; at += 64u) {
        y[group.y * I4 + at] = numbers(
            at / 8u, row, at / 4u % 2u, at % 4u,
            factors(at / 8u, row), //! if codes
        );
    }
}
