// y[t, first + o] += s · Σ_r B[o, r]·z[t, r] for every part: a thread for each number of y.

const THREADS = {{threads}}u;
const O = {{o}}u;       // numbers of a row of y
const Z = {{z_width}}u; // numbers of a row of z

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * THREADS + lane;
    if row >= O { return; }
    var sum = 0.0;
//! for p in parts
    if row >= {{p.first}}u && row < {{p.end}}u {
        for (var k = 0u; k < {{p.rank}}u; k += 1u) {
            sum += b{{p}}[(row - {{p.first}}u) * {{p.rank}}u + k] * z[group.y * Z + {{p.column}}u + k];
        }
    }
//! end
    y[group.y * O + row] += sum
        * {{by}} //! if by
    ;
}
