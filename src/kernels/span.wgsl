// Which keys a workgroup takes, and the row of its result: with `split` KEYS of them, which leaves a part
// that is joined later, else all.
//! if split
    let first = group.x / UNITS * KEYS;
    let last = min(total, first + KEYS);
    let result = t * ((capacity + KEYS - 1u) / KEYS) + first / KEYS;
//! else
    let first = 0u;
    let last = total;
    let result = t;
//! end
