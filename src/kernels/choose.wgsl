// The choice of the next token by logits, and what is reported of it: a workgroup for each row.

const THREADS = {{threads}}u;
const N = {{vocab}}u;
const WORDS = (N + 31u) / 32u; // of a row of `seen`, a bit for each token
const ROUNDS = {{rounds}}u;    // in which a threshold is found
const MOST = {{most}}u;        // tokens that are listed
const REPORT = 4u + 3u * MOST; // words of a row's report
// Logits that a thread reads at once, so that it waits once for all of them.
const STEP = THREADS * {{at_once}}u;
// What is chosen and listed is mostly among the best few. Those are what is not below the NEAR-th of the largest
// that each thread found: at least NEAR, and unless they crowd in a few threads, less than ROOM.
const NEAR = 128u;
const ROOM = 512u;

// What `asked` holds, in its order.
struct Settings {
    key: vec2<u32>,   // of the noise
    temperature: f32, // 0 for the likeliest token
    top_k: u32,
    top_p: f32,
    min_p: f32,
    penalty: f32,     // of tokens that were seen
    top: u32,         // tokens to list
    reference: u32,   // the row that the first is compared with
    shadow: u32,      // a row that gets the first row's token
    newest: u32,      // whether the row's `newest` counts as seen
}

var<workgroup> settings: Settings;
var<workgroup> pool: array<array<vec4<f32>, 2>, THREADS>;
var<workgroup> winners: array<u32, THREADS>;
var<workgroup> range: vec2<u32>;
var<workgroup> found: atomic<u32>;
// The largest magnitude's bits. Compilers may take it that no number is infinite or NaN, and max drops
// a NaN; in bits, these are above all numbers.
var<workgroup> magnitude: atomic<u32>;
var<workgroup> list: array<u32, MOST>;
// Tokens near the best, by logit or by score, and the ranks down to which all are there.
var<workgroup> near: array<u32, ROOM>;
var<workgroup> bounds: vec2<u32>;

// Order-preserving: larger numbers have larger ranks.
fn rank(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// A hash.
fn mix(start: u32) -> u32 {
    var x = (start ^ (start >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

// Noise of a Gumbel distribution: −ln(−ln(1 − v)), v uniform in 0 … 1.
fn gumbel(key: vec2<u32>, id: u32) -> f32 {
    let v = (f32(mix(mix(id + key.x) ^ key.y) >> 9u) + 0.5) / 8388608.0;
    let small = v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
    return -log(select(-log(1.0 - v), small, v < 1.0 / 64.0));
}

// The logit that the choice is made by, of a logit.
fn score(s: Settings, row: u32, i: u32, logit: f32) -> f32 {
    var l = logit;
    if s.penalty != 1.0 {
        var is_seen = ((seen[row * WORDS + i / 32u] >> (i % 32u)) & 1u) == 1u;
        if s.newest == 1u { is_seen = is_seen || u32(newest[row]) == i; }
        if is_seen { l = select(l * s.penalty, l / s.penalty, l > 0.0); }
    }
    return select(l, l / s.temperature, s.temperature > 0.0);
}

// Over all threads.
fn sum(lane: u32, a: vec4<f32>, b: vec4<f32>) -> array<vec4<f32>, 2> {
    pool[lane] = array<vec4<f32>, 2>(a, b);
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            pool[lane][0] += pool[lane + half][0];
            pool[lane][1] += pool[lane + half][1];
        }
    }
    workgroupBarrier();
    let result = pool[0];
    workgroupBarrier();
    return result;
}

fn largest(lane: u32, a: vec4<f32>) -> vec4<f32> {
    pool[lane][0] = a;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half { pool[lane][0] = max(pool[lane][0], pool[lane + half][0]); }
    }
    workgroupBarrier();
    let result = pool[0][0];
    workgroupBarrier();
    return result;
}

// The smallest rank above which less than `wanted` lies, by kind: of scores, each counting 1; of scores of
// rank `floor` and above, each counting exp(score - most); or of plain logits. Each round counts what
// lies above eight ranks, among `count` tokens: those that are near, or all.
fn threshold(
    s: Settings, row: u32, lane: u32, kind: u32, wanted: f32, floor: u32, most: f32,
    count: u32, is_near: bool,
) -> u32 {
    if lane == 0u { range = vec2<u32>(0u, 0xff800000u); }
    for (var round = 0u; round < ROUNDS; round += 1u) {
        let now = workgroupUniformLoad(&range);
        let step = (now.y - now.x) / 8u + 1u;
        let low = vec4<u32>(now.x) + vec4<u32>(0u, 1u, 2u, 3u) * step;
        let high = low + vec4<u32>(4u * step);
        var above_low = vec4<f32>();
        var above_high = vec4<f32>();
        for (var i = lane; i < count; i += STEP) {
            var id{{k}} = {{k.of_count}}; //! for k in reads
            if is_near { id{{k}} = near[id{{k}}]; } //! for k in reads
            let x{{k}} = logits[row * N + id{{k}}]; //! for k in reads
//! for k in reads
            {
                var x = x{{k}};
                if kind != 2u { x = score(s, row, id{{k}}, x); }
                let place = rank(x);
                let counts = select(1.0, select(0.0, exp(x - most), place >= floor), kind == 1u)
                    * f32({{k.in_count}}) //! if k.in_count
                ;
                above_low += select(vec4<f32>(), vec4<f32>(counts), vec4<u32>(place) > low);
                above_high += select(vec4<f32>(), vec4<f32>(counts), vec4<u32>(place) > high);
            }
//! end
        }
        var above = sum(lane, above_low, above_high);
        if lane == 0u {
            var next = vec2<u32>(now.x + 7u * step + 1u, now.y);
            for (var j = 8u; j > 0u; j -= 1u) {
                if above[(j - 1u) / 4u][(j - 1u) % 4u] < wanted {
                    let at = now.x + (j - 1u) * step;
                    next = vec2<u32>(select(at - step + 1u, now.x, j == 1u), min(at, now.y));
                }
            }
            range = next;
        }
    }
    return workgroupUniformLoad(&range).y;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    if lane == 0u {
        settings = Settings(
            vec2<u32>(asked[0], asked[1]), bitcast<f32>(asked[2]), asked[3],
            bitcast<f32>(asked[4]), bitcast<f32>(asked[5]), bitcast<f32>(asked[6]),
            asked[7], asked[8], asked[9], asked[10],
        );
        atomicStore(&found, 0u);
        atomicStore(&magnitude, 0u);
    }
    let s = workgroupUniformLoad(&settings);
    // The row beside ours: the reference's for the first, the first for all others.
    let other = select(0u, s.reference, row == 0u) * N;

    // The largest logit, score and logit beside ours; then the KL of both rows.
    var most = vec4<f32>(-3e38);
    var bits = 0u;
    for (var i = lane; i < N; i += STEP) {
//! for k in reads
        let x{{k}} = logits[row * N + {{k.at}}];
        let z{{k}} = logits[other + {{k.at}}];
//! end
//! for k in reads
        let y{{k}} = score(s, row, {{k.at}}, x{{k}});
        most = max(most, vec4<f32>(x{{k}}, y{{k}}, z{{k}}, 0.0));
        bits = max(bits, max(bitcast<u32>(x{{k}}) & 0x7fffffffu, bitcast<u32>(y{{k}}) & 0x7fffffffu));
//! end
    }
    atomicMax(&magnitude, bits);
    // For now the best of each thread.
    let own = vec2<u32>(rank(most.x), rank(most.y));
    winners[lane] = own.x;
    near[lane] = own.y;
    workgroupBarrier();
    var above = vec2<u32>();
    for (var other = 0u; other < THREADS; other += 1u) {
        let theirs = vec2<u32>(winners[other], near[other]);
        let is_above = (theirs > own) | ((theirs == own) & vec2<bool>(other < lane));
        above += select(vec2<u32>(), vec2<u32>(1u), is_above);
    }
    if above.x == NEAR - 1u { bounds.x = own.x; }
    if above.y == NEAR - 1u { bounds.y = own.y; }
    let bound = workgroupUniformLoad(&bounds);
    most = largest(lane, most);
    var sums = vec4<f32>();
    for (var i = lane; i < N; i += STEP) {
//! for k in reads
        let x{{k}} = logits[row * N + {{k.at}}];
        let z{{k}} = logits[other + {{k.at}}];
//! end
//! for k in reads
        let p{{k}} = exp(x{{k}} - most.x);
        let y{{k}} = score(s, row, {{k.at}}, x{{k}});
        sums += vec4<f32>(p{{k}}, p{{k}} * (x{{k}} - z{{k}}), exp(z{{k}} - most.z), exp(y{{k}} - most.y))
            * f32({{k.inside}}) //! if k.inside
        ;
        if (rank(x{{k}}) >= bound.x || rank(y{{k}}) >= bound.y)
            && {{k.inside}} //! if k.inside
        {
            let at = atomicAdd(&found, 1u);
            if at < ROOM { near[at] = {{k.at}}; }
        }
//! end
    }
    sums = sum(lane, sums, vec4<f32>())[0];
    if lane == 0u { range.x = atomicLoad(&found); }
    // None, if not all of them have room.
    let crowd = workgroupUniformLoad(&range).x;
    let nearby = select(crowd, 0u, crowd > ROOM);
    if lane == 0u { atomicStore(&found, 0u); }
    let log_sum = most.x + log(sums.x);
    let kl = sums.y / sums.x - (log_sum - (most.z + log(sums.z)));

    // Ranks below which nothing is chosen, and below which nothing is listed: first of those that are near, and
    // where more count, of all. One call for all: compilers write out each call.
    var floor = 0u;
    var least = 0u;
    var is_settled = false;
    for (var turn = 0u; turn < 6u; turn += 1u) {
        let kind = turn / 2u;
        let is_near = turn % 2u == 0u;
        if is_near { is_settled = false; }
        var is_asked = s.top > 0u;
        if kind < 2u { is_asked = s.temperature > 0.0; }
        if kind == 0u { is_asked = is_asked && s.top_k > 0u && s.top_k < N; }
        if kind == 1u { is_asked = is_asked && s.top_p < 1.0; }
        if kind == 1u && is_near { is_asked = is_asked && (floor == 0u || floor >= bound.y); }
        if !is_asked || is_settled || (is_near && nearby == 0u) { continue; }
        let count = select(N, nearby, is_near);
        var wanted = f32(select(s.top, s.top_k, kind == 0u));
        if kind == 1u {
            var all = sums.w;
            if floor > 0u {
                var mass = 0.0;
                for (var i = lane; i < count; i += STEP) {
                    var id{{k}} = {{k.of_count}}; //! for k in reads
                    if is_near { id{{k}} = near[id{{k}}]; } //! for k in reads
                    let x{{k}} = logits[row * N + id{{k}}]; //! for k in reads
//! for k in reads
                    let y{{k}} = score(s, row, id{{k}}, x{{k}});
                    mass += select(0.0, exp(y{{k}} - most.y), rank(y{{k}}) >= floor)
                        * f32({{k.in_count}}) //! if k.in_count
                    ;
//! end
                }
                all = sum(lane, vec4<f32>(mass), vec4<f32>())[0].x;
            }
            wanted = s.top_p * all;
        }
        let found_rank = threshold(s, row, lane, kind, wanted, floor, most.y, count, is_near);
        if is_near && found_rank < select(bound.y, bound.x, kind == 2u) { continue; }
        is_settled = true;
        if kind == 2u { least = found_rank; } else { floor = max(floor, found_rank); }
    }
    if s.temperature > 0.0 && s.min_p > 0.0 {
        floor = max(floor, rank(most.y + log(s.min_p)));
    }

    // The best of what is left, with noise unless the likeliest is asked for; of equals, the first.
    var best = -3e38;
    var winner = 0u;
    let best_near = nearby > 0u && (s.temperature <= 0.0 || floor >= bound.y);
    let rest = select(N, nearby, best_near);
    for (var i = lane; i < rest; i += STEP) {
        var id{{k}} = {{k.of_rest}}; //! for k in reads
        if best_near { id{{k}} = near[id{{k}}]; } //! for k in reads
        let x{{k}} = logits[row * N + id{{k}}]; //! for k in reads
//! for k in reads
        {
            var x = score(s, row, id{{k}}, x{{k}});
            if rank(x) >= floor {
                if s.temperature > 0.0 { x += gumbel(s.key, id{{k}}); }
                if x > best || (x == best && id{{k}} < winner) {
                    best = x;
                    winner = id{{k}};
                }
            }
        }
//! end
    }
    pool[lane][0].x = best;
    winners[lane] = winner;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let mine = pool[lane][0].x;
            let theirs = pool[lane + half][0].x;
            let first = winners[lane + half] < winners[lane];
            if theirs > mine || (theirs == mine && first) {
                pool[lane][0].x = theirs;
                winners[lane] = winners[lane + half];
            }
        }
    }
    workgroupBarrier();

    let to = row * REPORT;
    if lane == 0u {
        let id = winners[0];
        report[to] = id;
        report[to + 1u] = bitcast<u32>(logits[row * N + id]);
        let is_finite = atomicLoad(&magnitude) < 0x7f800000u;
        report[to + 2u] = select(0x7fc00000u, bitcast<u32>(log_sum), is_finite);
        report[to + 3u] = bitcast<u32>(kl);
        // A shadow reads what the first row's stream says.
        if row == 0u || row != s.shadow { ids[row] = i32(id); }
        if row == 0u { ids[s.shadow] = i32(id); }
    }
    // The list, sorted.
    if s.top > 0u {
        let is_near = nearby > 0u && least >= bound.x;
        let count = select(N, nearby, is_near);
        for (var i = lane; i < count; i += STEP) {
            var id{{k}} = {{k.of_count}}; //! for k in reads
            if is_near { id{{k}} = near[id{{k}}]; } //! for k in reads
            let x{{k}} = logits[row * N + id{{k}}]; //! for k in reads
//! for k in reads
            if rank(x{{k}}) >= least
                && {{k.in_count}} //! if k.in_count
            {
                let at = atomicAdd(&found, 1u);
                if at < MOST { list[at] = id{{k}}; }
            }
//! end
        }
        workgroupBarrier();
        if lane == 0u {
            let count = min(atomicLoad(&found), MOST);
            for (var at = 0u; at < min(s.top, count); at += 1u) {
                var place = at;
                for (var j = at + 1u; j < count; j += 1u) {
                    let x = logits[row * N + list[j]];
                    let y = logits[row * N + list[place]];
                    if x > y || (x == y && list[j] < list[place]) { place = j; }
                }
                let id = list[place];
                list[place] = list[at];
                report[to + 4u + 3u * at] = id;
                report[to + 5u + 3u * at] = bitcast<u32>(logits[row * N + id]);
                report[to + 6u + 3u * at] = bitcast<u32>(logits[other + id]);
            }
        }
    }
}
