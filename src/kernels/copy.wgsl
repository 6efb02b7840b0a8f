// copied = source, four numbers to a thread.

const THREADS = {{threads}}u;
const COUNT = {{count}}u; // of four numbers

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var at = group.x * THREADS + lane; at < COUNT; at += groups.x * THREADS) {
        copied[at] = source[at];
    }
}
