//! Linear algebra on the host, in f64, for what is computed once at load.

pub(crate) mod householder;
pub(crate) mod matrix;
pub(crate) mod skew;
pub(crate) mod svd;
