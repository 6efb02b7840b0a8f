// Softmax attention of one query, TOGETHER heads that read the same keys, by one workgroup: KEYS keys at a
// time, first their scores, a thread for some keys, then the mixture of their values, a thread for some
// columns. `turn` is (position of the first query, capacity, queries).

const HEADS = {{heads}}u;
const GROUPS = {{groups}}u;      // query heads of a key head
const TOGETHER = {{together}}u;  // of which so many are computed at once
const UNITS = HEADS / TOGETHER;
const HD4 = {{hd4}}u;            // fours of a head
const SCALE: f32 = {{scale}};
const KEYS = {{keys}}u;          // keys that are looked at together
const THREADS = {{threads}}u;
const COLUMNS = {{columns}}u;    // fours that a thread sums
const ACROSS = HD4 / COLUMNS;    // threads that sum all columns
const PARTS = {{parts}}u;        // such rows of threads: each takes other keys
const SUMS = TOGETHER * COLUMNS; // of a thread
const CAP: f32 = {{cap}};        // of scores //! if cap
const WINDOW = {{window}}u;      // keys that a query sees //! if window

// A number for each head.
alias Each = {{each}};

var<workgroup> shares: array<Each, KEYS>;
var<workgroup> tops: array<Each, THREADS>;
var<workgroup> mixtures: array<vec4<f32>, SUMS * THREADS>;
var<workgroup> place: vec2<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.y;
    let head = group.x % UNITS * TOGETHER;
    let kv = head / GROUPS;
    // Barriers may stand only where the compiler sees that all threads come by. Loops run equally often for
    // all threads, which is far cheaper on a software GPU.
    if lane == 0u { place = vec2<u32>(u32(turn[0]), u32(turn[1])); }
    let shared_place = workgroupUniformLoad(&place);
    let capacity = shared_place.y;
    let total = shared_place.x + t + 1u;
//! put span
    let query = (t * HEADS + head) * HD4;
    let column = lane % ACROSS;
    let part = min(lane / ACROSS, PARTS - 1u);
    var most = Each(-1e30);
    var sum = Each();
    var acc{{n}}_{{c}} = vec4<f32>(); //! for n in heads_at_once, c in columns
    for (var base = first; base < last; base += KEYS) {
        let count = min(KEYS, last - base);
        let origin = kv * capacity + base;

        // Scores, and the largest.
//! for i in own
        let at{{i}} = (origin + min(lane + {{i}}u * THREADS, count - 1u)) * HD4;
        var score{{i}} = Each();
//! end
        for (var k = 0u; k < HD4; k += 1u) {
            let q{{n}} = q[query + {{n}}u * HD4 + k]; //! for n in heads_at_once
//! for i in own
            let key{{i}} = keys[at{{i}} + k];
            score{{i}} += Each(
                dot(q{{n}}, key{{i}}), //! for n in heads_at_once
            );
//! end
        }
//! for i in own
        score{{i}} = CAP - 2.0 * CAP / (1.0 + exp(score{{i}} * (2.0 * SCALE / CAP))); //! if cap
        score{{i}} = select(
            Each(-1e30),
            score{{i}} * SCALE, //! if not cap
            score{{i}}, //! if cap
            lane + {{i}}u * THREADS < count
        );
//! end
        tops[lane] = {{top}};
        workgroupBarrier();
        var top = most;
        top = max(top, tops[{{i}}]); //! for i in threads

        // Shares, and what is left of the earlier ones.
        shares[lane + {{i}}u * THREADS] = exp(score{{i}} - top); //! for i in own
        let fade = exp(most - top);
        most = top;
        sum *= fade;
        acc{{n}}_{{c}} *= fade{{n.of}}; //! for n in heads_at_once, c in columns
        workgroupBarrier();

        for (var j = part; j < count + part; j += PARTS) {
            let at = (origin + min(j, count - 1u)) * HD4 + column * COLUMNS;
            let share = shares[j];
            sum += share;
            let value{{c}} = values[at + {{c}}u]; //! for c in columns
            acc{{n}}_{{c}} += share{{n.of}} * value{{c}}; //! for n in heads_at_once, c in columns
        }
    }

    // The sums of all rows of threads.
    tops[lane] = sum;
//! for n in heads_at_once, c in columns
    mixtures[({{n}}u * COLUMNS + {{c}}u) * THREADS + lane] = acc{{n}}_{{c}};
//! end
    workgroupBarrier();
    let to = result * HEADS + head;
    for (var k = lane; k < TOGETHER * HD4; k += THREADS) {
        let n = k / HD4;
        let c = k % HD4;
        let at = (n * COLUMNS + c % COLUMNS) * THREADS + c / COLUMNS;
        var mixed = mixtures[at];
        sum = tops[0];
        for (var j = 1u; j < PARTS; j += 1u) {
            mixed += mixtures[at + j * ACROSS];
            sum += tops[j * ACROSS];
        }
//! if split
        y[to * HD4 + k] = mixed;
        if k % HD4 == 0u { ends[to + n] = vec2<f32>(most{{of_n}}, sum{{of_n}}); }
//! else
        y[to * HD4 + k] = mixed / sum{{of_n}};
//! end
    }
}
