// Which keys a workgroup takes, and the row of its result: with `split` those of KEYS that the query sees,
// which leaves a part that is joined later, else all that it sees.
//! if split
//!   if window
    let start = group.x / UNITS * KEYS;
    let first = max(start, total - min(total, WINDOW));
    let last = min(total, start + KEYS);
    let result = t * ((capacity + KEYS - 1u) / KEYS) + start / KEYS;
//!   else
    let first = group.x / UNITS * KEYS;
    let last = min(total, first + KEYS);
    let result = t * ((capacity + KEYS - 1u) / KEYS) + first / KEYS;
//!   end
//! else
    let first = 0u; //! if not window
    let first = total - min(total, WINDOW); //! if window
    let last = total;
    let result = t;
//! end
