// An overflow would make every number 0, which looks like a result: NaN instead. Told by bits, since
// compilers may take it that no number is infinite.
fn inverse_root(mean: f32) -> f32 {
    let bits = bitcast<u32>(mean);
    return select(inverseSqrt(mean), bitcast<f32>(bits | 0x7fc00000u), bits >= 0x7f800000u);
}
