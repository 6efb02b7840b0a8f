//! Damaged bytes.

use super::*;

/// Reads everything there is to read in a GGUF file; its tokenizer only where `known` is not the
/// metadata, because compiling a tokenizer's patterns takes longer than all the rest.
fn use_gguf(file: &[u8], known: &Metadata) -> Result<()> {
    let whole = gguf::read_all("file.gguf", file).map(drop);
    let model = open_model(file.to_vec())?;
    if let Some(metadata) = model.metadata()
        && metadata != known
        && let Some(text) = Text::from_gguf("file.gguf", metadata)?
    {
        let ids = text.encode("a b <|x|> é 12", true)?;
        let _ = (text.decode(&ids, true), text.chat(&[]));
    }
    for (key, shape) in small_model()
        .iter()
        .map(|(key, tensor)| (key, &tensor.shape))
    {
        block_on(model.tensor(key, shape))?;
    }
    whole
}

fn use_safetensors(file: &[u8]) -> Result<()> {
    let opened = open_safetensors(file)?;
    let source = bytes("file.safetensors", file.to_vec());
    for key in opened.tensors.keys() {
        block_on(opened.tensor(&source, key))?;
    }
    safetensors::read_all("file.safetensors", file).map(drop)
}

/// Changes every byte of `file[..header]` in a few ways; nothing may panic, and what is refused
/// has a message.
fn damage(file: &[u8], header: usize, read: impl Fn(&[u8]) -> Result<()>) -> (usize, usize) {
    let (mut accepted, mut refused) = (0, 0);
    let mut damaged = file.to_vec();
    for at in 0..header {
        let byte = file[at];
        for changed in [byte ^ 1, byte ^ 0x80, 0, 0xff, b'9'] {
            damaged[at] = changed;
            match read(&damaged) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty() && !error.code().is_empty());
                    refused += 1;
                }
            }
        }
        damaged[at] = byte;
    }
    (accepted, refused)
}

#[test]
fn no_damaged_byte_of_a_gguf_header_panics() {
    let strings = |items: &[&str]| {
        Value::Array(Array::String(
            items.iter().map(|item| (*item).into()).collect(),
        ))
    };
    let mut metadata = gguf_metadata();
    let tokenizer = [
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        (
            "tokenizer.ggml.tokens",
            strings(&["a", "b", "Ġ", "ab", "<|x|>", "Ã", "©", "1", "2"]),
        ),
        ("tokenizer.ggml.merges", strings(&["a b"])),
        (
            "tokenizer.ggml.token_type",
            Value::Array(Array::I32(vec![1, 1, 1, 1, 3, 1, 1, 1, 1])),
        ),
        ("tokenizer.ggml.bos_token_id", Value::U32(4)),
        ("tokenizer.chat_template", text("{{ messages | length }}")),
    ];
    metadata.extend(tokenizer.map(|(key, value)| (key.to_owned(), value)));
    let tensors = gguf_tensors(&small_model());
    let data: usize = tensors
        .iter()
        .map(|(_, tensor)| (floats(tensor).len() * 4).next_multiple_of(32))
        .sum();
    let file = gguf::write(&metadata, &tensors).expect("writes");
    use_gguf(&file, &Metadata::default()).expect("undamaged");
    let (known, _) = gguf::read_all("small.gguf", &file).expect("undamaged");
    let (accepted, refused) = damage(&file, file.len() - data, |file| use_gguf(file, &known));
    assert!(
        refused > 3 * accepted && refused > 5_000,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn no_damaged_byte_of_a_safetensors_header_panics() {
    let model = small_model();
    let few = model
        .iter()
        .filter(|(key, _)| key.contains("layers.0.self_attn"));
    let file = to_safetensors(few);
    use_safetensors(&file).expect("undamaged");
    let header = 8 + u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize;
    let (accepted, refused) = damage(&file, header, use_safetensors);
    assert!(
        refused > accepted && refused > 2_000,
        "{refused} refused, {accepted} accepted"
    );
}
