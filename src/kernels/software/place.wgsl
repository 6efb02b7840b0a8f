// A thread's place in its quad, and the two bits of it as vectors.
    let quad = in_subgroup % 4u;
    let odd = vec4<bool>((quad & 1u) != 0u);
    let high = vec4<bool>((quad & 2u) != 0u);
