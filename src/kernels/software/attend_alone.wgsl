// Softmax attention of one head of one query by one thread, four keys at a time, without barriers. `turn`
// is (position of the first query, capacity, queries). With `quads` the threads of a quad, whose keys are
// the same, read one key each and tell it to the others.

const QUERIES = {{queries}}u; // of a workgroup, all of one head
const HEADS = {{heads}}u;
const GROUPS = {{groups}}u;   // query heads of a key head
const HD4 = {{hd4}}u;         // fours of a head
const SCALE: f32 = {{scale}};
const CAP: f32 = {{cap}};     // of scores //! if cap
const WINDOW = {{window}}u;   // keys that a query sees //! if window

@compute @workgroup_size(QUERIES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32, //! if quads
) {
//! if quads
//!   put place
//! end
    let start = u32(turn[0]);
    let capacity = u32(turn[1]);
    let count = u32(turn[2]);
    let head = group.x;
    let t = min(group.y * QUERIES + lane, count - 1u);
    let total = start + t + 1u;
    // As many as the last query of the workgroup sees: quads stay together.
    let last = start + min((group.y + 1u) * QUERIES, count);
    let origin = head / GROUPS * capacity;
    let row = (t * HEADS + head) * HD4;
    let q{{c}} = q[row + {{c}}u] * SCALE; //! for c in hd4
    var most = -1e30;
    var sum = 0.0;
    var mixed{{c}} = vec4<f32>(); //! for c in hd4
//! if window
    let unseen = total - min(total, WINDOW);
    // What the first query of the workgroup does not see, none of it sees.
    let first = start + group.y * QUERIES + 1u;
//! end
    for (
        var base = 0u; //! if not window
        var base = first - min(first, WINDOW); //! if window
        base < last; base += 4u
    ) {
        let at{{k}} = (origin + min({{k.place}}, capacity - 1u)) * HD4; //! for k in keys
        var score{{k}} = 0.0; //! for k in keys
//! for c in hd4
        {
//!   for k in keys
            let key{{k}} = {{k.told}}(key0); //! if k.told
            let key{{k}} = keys[at{{k}} + {{c}}u]; //! if not k.told
//!   end
            score{{k}} += dot(q{{c}}, key{{k}}); //! for k in keys
        }
//! end
        // Before its first key a query has shares of 1 in what it does not see, which the first then voids.
//! for k in keys
        score{{k}} = CAP - 2.0 * CAP / (1.0 + exp(score{{k}} * (2.0 / CAP))); //! if cap
        score{{k}} = select(
            -1e30, score{{k}}, {{k.place}} < total
            && {{k.place}} >= unseen //! if window
        );
//! end
        let top = max(max(most, max(score0, score1)), max(score2, score3));
        let fade = exp(most - top);
        let share{{k}} = exp(score{{k}} - top); //! for k in keys
        sum = sum * fade + ((share0 + share1) + (share2 + share3));
        most = top;
//! for c in hd4
        {
//!   for k in keys
            let value{{k}} = {{k.told}}(value0); //! if k.told
            let value{{k}} = values[at{{k}} + {{c}}u]; //! if not k.told
//!   end
            mixed{{c}} = mixed{{c}} * fade
                + ((share0 * value0 + share1 * value1) + (share2 * value2 + share3 * value3));
        }
//! end
    }
    if group.y * QUERIES + lane >= count { return; }
    y[row + {{c}}u] = mixed{{c}} / sum; //! for c in hd4
}
