//! Prints the JSON Schema of results.

fn main() -> serde_json::Result<()> {
    println!("{}", serde_json::to_string_pretty(&proto::result::schema())?);
    Ok(())
}
