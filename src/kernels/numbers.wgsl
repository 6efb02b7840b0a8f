// Four numbers of the first or second 16 of a block of W, widened; `s` is what `factors` gives.
//! put factors
//! if codes
fn numbers(block: u32, row: u32, half: u32, four: u32, s: vec4<f32>) -> vec4<f32> {
    let places = vec4<u32>(0u, 8u, 16u, 24u);
//!   if nibbles
    let word = words[block * STORED + row][four] >> (4u * half);
    var codes = (vec4<u32>(word) >> places) & vec4<u32>(15u);
//!   end
//!   if eight
    let word = words[(block * 2u + half) * STORED + row][four];
    let codes = (vec4<u32>(word) >> places) & vec4<u32>(255u);
//!   end
//!   if high
    // The bits above the fourth.
    let bit = {{high}}u * (4u * half + four);
    let above = scales[{{high_at}}u + (block * {{high}}u + bit / 8u) * STORED + row] >> (bit % 8u);
    codes |= ((vec4<u32>(above) >> places) & vec4<u32>((1u << {{high}}u) - 1u)) << vec4<u32>(4u);
//!   end
    let of_half = select(s.xy, s.zw, half == 1u);
    return (vec4<f32>(codes) - {{zero}}.0) * of_half.x + of_half.y;
}
//! else
fn numbers(block: u32, row: u32, half: u32, four: u32) -> vec4<f32> {
    let q = words[(block * 8u + 4u * half + four) * STORED + row];
    return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)); //! if f16
    return bitcast<vec4<f32>>((q.xxyy << vec4<u32>(16u, 0u, 16u, 0u)) & vec4<u32>(0xffff0000u)); //! if bf16
    return q; //! if f32
}
//! end
