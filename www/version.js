// The version of this page and its engine, for what is exported: that of Cargo.toml, as a test says.
export const VERSION = "0.1.0";
