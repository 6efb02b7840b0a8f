// Softmax attention of one query, TOGETHER heads that read the same keys, by one quad, whose threads take a
// key each, without barriers. `turn` is (position of the first query, capacity, queries).

const HEADS = {{heads}}u;
const GROUPS = {{groups}}u;     // query heads of a key head
const TOGETHER = {{together}}u; // of which so many are computed at once
const UNITS = HEADS / TOGETHER;
const HD4 = {{hd4}}u;           // fours of a head
const SCALE: f32 = {{scale}};
const KEYS = {{keys}}u;         // of a workgroup, if they are split
const CAP: f32 = {{cap}};       // of scores //! if cap
const WINDOW = {{window}}u;     // keys that a query sees //! if window

@compute @workgroup_size(4)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) in_subgroup: u32,
) {
//! put place
    let t = group.y;
    let capacity = u32(turn[1]);
    let total = u32(turn[0]) + t + 1u;
    let head = group.x % UNITS * TOGETHER;
//! put span
    let origin = head / GROUPS * capacity;
    let query = (t * HEADS + head) * HD4;
//! for n in together
    var most{{n}} = -1e30;
    var sum{{n}} = 0.0;
//!   for c in hd4
    let q{{n}}_{{c}} = q[query + ({{n}}u * HD4 + {{c}}u)] * SCALE;
    var mixed{{n}}_{{c}} = vec4<f32>();
//!   end
//! end
    for (var base = first; base < last; base += 4u) {
        let at = (origin + min(base + quad, last - 1u)) * HD4;
        var score{{n}} = 0.0; //! for n in together
//! for c in hd4
        {
            let key = keys[at + {{c}}u];
            score{{n}} += dot(q{{n}}_{{c}}, key); //! for n in together
        }
//! end
        // A thread without a key of its own has a share of 1 in nothing, until it joins.
//! for n in together
        score{{n}} = CAP - 2.0 * CAP / (1.0 + exp(score{{n}} * (2.0 / CAP))); //! if cap
        score{{n}} = select(-1e30, score{{n}}, base + quad < last);
        let top{{n}} = max(most{{n}}, score{{n}});
        let fade{{n}} = exp(most{{n}} - top{{n}});
        let share{{n}} = exp(score{{n}} - top{{n}});
        sum{{n}} = sum{{n}} * fade{{n}} + share{{n}};
        most{{n}} = top{{n}};
//! end
//! for c in hd4
        {
            let value = values[at + {{c}}u];
            mixed{{n}}_{{c}} = mixed{{n}}_{{c}} * fade{{n}} + value * share{{n}}; //! for n in together
        }
//! end
    }
    // Of what each thread has, the same for all four.
//! for n in together
    let own{{n}} = most{{n}};
    most{{n}} = max(most{{n}}, quadSwapX(most{{n}}));
    most{{n}} = max(most{{n}}, quadSwapY(most{{n}}));
    let rest{{n}} = exp(own{{n}} - most{{n}});
    sum{{n}} *= rest{{n}};
    sum{{n}} = sum{{n}} + quadSwapX(sum{{n}});
    sum{{n}} = sum{{n}} + quadSwapY(sum{{n}});
//! end
    let to = result * HEADS + head;
    // Four columns at a time, of which each thread gets the sum of one.
//! for n in together
//!   for f in fours
    {
//!     for c in f.columns
        let c{{c}} = mixed{{n}}_{{c.column}} * rest{{n}}; //! if c.exists
        let c{{c}} = vec4<f32>(); //! if not c.exists
//!     end
        let low = select(c0, c1, odd) + quadSwapX(select(c1, c0, odd));
        let top = select(c2, c3, odd) + quadSwapX(select(c3, c2, odd));
        let all = select(low, top, high) + quadSwapY(select(top, low, high));
        if {{f}}u * 4u + quad < HD4 {
            y[(to + {{n}}u) * HD4 + {{f}}u * 4u + quad] = all; //! if split
            y[(to + {{n}}u) * HD4 + {{f}}u * 4u + quad] = all / sum{{n}}; //! if not split
        }
    }
//!   end
    if quad == 0u { ends[to + {{n}}u] = vec2<f32>(most{{n}}, sum{{n}}); } //! if split
//! end
}
