import Language

/// Reads `{"name": NAME, "arguments": OBJECT}` as it arrives, which a constraint makes the model
/// write when it must call one of several functions.
struct ForcedCallReader {
    private enum Place {
        case head, arguments, whole
    }

    private var place = Place.head
    private var bytes: [UInt8] = []
    private var scan = ObjectScan()
    /// How much of `bytes` was returned or stands before the arguments.
    private var sentCount = 0

    /// Everything that arrived.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether the arguments ended.
    var isWhole: Bool { place == .whole }

    mutating func append(_ text: String) -> [AnswerParser.Piece] {
        bytes += text.utf8
        var pieces: [AnswerParser.Piece] = []
        if place == .head, let (name, start) = CallForm.objectCall(bytes) {
            pieces.append(.call(name: name))
            sentCount = start
            place = .arguments
        }
        guard place == .arguments else { return pieces }
        let count = scan.end(in: bytes[sentCount...])
        if count != nil { place = .whole }
        let end = count.map { sentCount + $0 } ?? bytes.count
        if end > sentCount {
            pieces.append(.arguments(String(decoding: bytes[sentCount ..< end], as: UTF8.self)))
        }
        sentCount = end
        if place == .whole { pieces.append(.callEnds) }
        return pieces
    }
}
