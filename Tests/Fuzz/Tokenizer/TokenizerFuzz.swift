import FuzzSupport

@testable import Language

/// Feeds bytes to the reader of `tokenizer.json`.
///
/// Whatever the bytes: no trap, and a tokenizer that is taken encodes any text and gives it back.
private func fuzzTokenizer(_ bytes: [UInt8]) {
    guard let tokenizer = try? Tokenizer(tokenizerJSON: bytes, configurationJSON: configuration)
    else { return }
    let text = String(decoding: bytes.suffix(200), as: UTF8.self) + sample
    _ = tokenizer.decode(tokenizer.encode(text))
    // An added token need not decode to its own text; everything else does.
    let ids = tokenizer.encode(text, addSpecialTokens: false, recogniseAddedTokens: false)
    let decoded = tokenizer.decode(ids, skipSpecialTokens: false)
    precondition(decoded.utf8.elementsEqual(text.utf8))
    var decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecialTokens: false)
    let streamed = ids.map { decoder.append($0) }.joined() + decoder.finish()
    precondition(streamed.utf8.elementsEqual(text.utf8))
}

private let configuration = Array(#"{"add_bos_token":true,"bos_token":"a"}"#.utf8)

private let sample =
    "Once 1234 upon\n\n  a time\u{301}, 漢字カナ! \u{0}\u{2028} <｜User｜> don't "
    + String(repeating: "ab", count: 80)

@main enum TokenizerFuzz {
    static func main() { FuzzRun.main(fuzzTokenizer) }
}
