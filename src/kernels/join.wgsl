// What workgroups found over KEYS keys each, in one: a thread for each four numbers of y. A part comes with
// the largest score that it is scaled by, and the sum of its shares.

const THREADS = {{threads}}u;
const KEYS = {{keys}}u;
const HEADS = {{heads}}u;
const HD4 = {{hd4}}u;    // fours of a head
const ROW = HEADS * HD4; // fours of a row of y
const WINDOW = {{window}}u; // keys that a query sees //! if window

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k = group.x * THREADS + lane;
    if k >= ROW { return; }
    let t = group.y;
    let first = t * ((u32(turn[1]) + KEYS - 1u) / KEYS);
    let parts = (u32(turn[0]) + t) / KEYS + 1u;
    var top = -1e30;
    var sum = 0.0;
    var mixed = vec4<f32>();
//! if window
    let total = u32(turn[0]) + t + 1u;
    let unseen = (total - min(total, WINDOW)) / KEYS;
//! end
    for (
        var part = first
        + unseen //! if window
        ; part < first + parts; part += 1u
    ) {
        let end = ends[part * HEADS + k / HD4];
        let most = max(top, end.x);
        let fade = exp(top - most);
        let share = exp(end.x - most);
        sum = sum * fade + end.y * share;
        mixed = mixed * fade + mixtures[part * ROW + k] * share;
        top = most;
    }
    y[t * ROW + k] = mixed / sum;
}
