//! `steer methods`: the method table of the README.

use steering_playground::methods::method_table;

pub(crate) fn run() {
    print!("{}", method_table());
}
