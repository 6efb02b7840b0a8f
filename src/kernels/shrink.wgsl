// z = scale · A x for up to three A side by side: a workgroup for each number of z.

const THREADS = {{threads}}u;
const I4 = {{i4}}u;   // fours of a row of x
const R = {{width}}u; // numbers of a row of z

var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let r = group.x;
    var sum = 0.0;
    var scale = 0.0;
//! for p in parts
    if r >= {{p.first}}u && r < {{p.end}}u {
        scale = scales[{{p}}];
        for (var k = lane; k < I4; k += THREADS) {
            sum += dot(a{{p}}[(r - {{p.first}}u) * I4 + k], x[group.y * I4 + k]);
        }
    }
//! end
    sums[lane] = sum;
    workgroupBarrier();
    if lane > 0u { return; }
    for (var k = 1u; k < THREADS; k += 1u) {
        sum += sums[k];
    }
    z[group.y * R + r] = sum * scale;
}
