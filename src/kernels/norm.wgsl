// y = x / √(mean(x²) + ε) ∘ γ, or h + s·y: a workgroup for each row.

const THREADS = {{threads}}u;
const D = {{d}}u; // numbers of a row
const EPSILON = {{epsilon}};
const BY: f32 = {{by}}; // s //! if by
const SHIFT_SCALE = {{shift_scale}}; //! if shift

//! put inverse_root

var<workgroup> parts: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * D;
    var part = 0.0;
    for (var k = lane; k < D; k += THREADS) {
        part += x[row + k] * x[row + k];
    }
    parts[lane] = part;
    workgroupBarrier();
    var sum = 0.0;
    for (var k = 0u; k < THREADS; k += 1u) {
        sum += parts[k];
    }
    let scale = inverse_root(sum / f32(D) + EPSILON);
    for (var k = lane; k < D; k += THREADS) {
        y[row + k] = x[row + k] * scale * gamma[k]
            * BY //! if by
            + h[row + k] //! if added
//! if shift
            + slot[SHIFT_SCALE] * shift[k] //! if not row
            + select(0.0, slot[SHIFT_SCALE] * shift[k], group.y == {{row}}) //! if row
//! end
        ;
    }
}
