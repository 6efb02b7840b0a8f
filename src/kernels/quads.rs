//! What the four threads of a quad tell each other, where a GPU has subgroups.

/// A parameter of `main`, behind others, that [`PLACE`] wants.
pub(super) const PARAMETER: &str = ", @builtin(subgroup_invocation_id) in_subgroup: u32";

/// A thread's place in its quad, and the two bits of it as vectors.
pub(super) const PLACE: &str = "let quad = in_subgroup % 4u;
     let odd = vec4<bool>((quad & 1u) != 0u);
     let high = vec4<bool>((quad & 2u) != 0u);";

/// `name` as the thread at place `quad ^ n` of the quad has it; 0 < n < 4.
pub(super) fn told(name: &str, n: usize) -> String {
    let swap = ["quadSwapX", "quadSwapY", "quadSwapDiagonal"][n - 1];
    format!("{swap}({name})")
}
