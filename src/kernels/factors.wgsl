// Factor and offset of the first and second 16 numbers of a block of W.
//! if codes
fn factors(block: u32, row: u32) -> vec4<f32> {
//!   if together
    let bytes = vec4<i32>(bitcast<i32>(scales[block * STORED + row]));
    let pair = unpack2x16float(scales[{{doubles}}u + block / {{together}}u * STORED + row]);
    return vec4<f32>((bytes << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u)) * pair.xyxy;
//!   else
    return unpack2x16float(scales[block * STORED + row]).xyxy;
//!   end
}
//! end
