//! Prints the JSON Schema of results: `cargo run --release -p mask-lambda --example result_schema`.

#[expect(clippy::print_stdout, reason = "what it is for")]
fn main() -> serde_json::Result<()> {
    println!("{}", serde_json::to_string_pretty(&proto::result::schema())?);
    Ok(())
}
