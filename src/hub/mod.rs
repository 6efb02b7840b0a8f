//! What a repository of the Hugging Face Hub holds, and which of its files are a model or an
//! adapter. Nothing is fetched here: the program and the page do that, each in its own way, and both
//! take the same files, with the same words where there are none.
//!
//! A listing is the Hub's tree: `GET {endpoint}/api/models/{repository}/tree/{revision}?recursive=true`, a JSON
//! array of `{type, path, size, oid, lfs: {oid, size}}`, of which `lfs.oid` is the SHA-256 of the file. A long one
//! comes in pages; the header `Link` names the next.
//!
//! ```text
//! place.rs       an address of the Hub: repository, revision, path
//! listing.rs     a page of a listing -> its files; an answer that is none -> an error
//! repository.rs  the files of a repository -> those of the model or adapter that was asked for
//! ```

mod listing;
mod place;
mod repository;

pub use listing::{Entry, MOST_PAGES, endless, entries, refused};
pub use place::{ENDPOINT, Place, SCHEME};
pub use repository::{Offer, Repository, Wanted};
