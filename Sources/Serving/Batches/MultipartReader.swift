import Encoding

/// Reads a `multipart/form-data` body as it arrives, in memory that does not grow with it.
///
/// Source: RFC 7578, RFC 2046 §5.1.
struct MultipartReader {
    /// What the body holds, in its order.
    enum Event: Equatable {
        /// A part begins; files have a name of their own.
        case part(name: String, file: String?)
        /// More of the part that began last.
        case bytes([UInt8])
    }

    private enum Place {
        case body, boundary, header, end
    }

    /// Bytes of a part's header fields.
    private static let headerLimit = 8 << 10
    /// RFC 2046 allows a boundary 70 characters.
    private static let boundaryLimit = 70

    /// What stands between two parts.
    private let delimiter: [UInt8]
    /// What was not understood yet. The first boundary has no line before it.
    private var buffer: [UInt8] = [0x0D, 0x0A]
    private var place = Place.body
    /// Before the first boundary there may be a preamble, which is nobody's.
    private var isPreamble = true

    /// - Throws: 415 for another type, 400 for a type without a boundary.
    init(contentType: String) throws(APIError) {
        let words = contentType.split(separator: ";", maxSplits: 1)
        let type = words.first.map { String($0).trimmed.lowercased() }
        guard type == "multipart/form-data" else {
            throw APIError(
                status: 415,
                message: "Content-Type is \(AccessLog.escaped(contentType)): it must be "
                    + "multipart/form-data",
                type: "invalid_request_error")
        }
        let parameters = Self.parameters(words.count > 1 ? String(words[1]) : "")
        guard let boundary = parameters["boundary"],
            (1 ... Self.boundaryLimit).contains(boundary.utf8.count)
        else {
            throw .invalid(
                "Content-Type has no boundary of 1 to \(Self.boundaryLimit) characters")
        }
        delimiter = Array("\r\n--\(boundary)".utf8)
    }

    /// Whether the last boundary came.
    var hasEnded: Bool { place == .end }

    /// Takes what arrived.
    ///
    /// - Throws: 400 for what is no form.
    mutating func append(_ bytes: some Collection<UInt8>) throws(APIError) -> [Event] {
        // What follows the last boundary is nobody's.
        guard place != .end else { return [] }
        buffer += bytes
        var events: [Event] = []
        while let event = try step() {
            if let event = event.known { events.append(event) }
        }
        return events
    }

    /// Something was understood: an event, or a boundary.
    private struct Step { let known: Event? }

    /// One step, or nil where more must arrive first.
    private mutating func step() throws(APIError) -> Step? {
        switch place {
        case .end: return nil
        case .body:
            let end = find(delimiter)
            // The beginning of a boundary may be what came last.
            let count = end ?? max(0, buffer.count - delimiter.count + 1)
            let bytes = Array(buffer[..<count])
            buffer.removeFirst(count)
            if end != nil {
                buffer.removeFirst(delimiter.count)
                place = .boundary
            }
            guard end != nil || !bytes.isEmpty else { return nil }
            return Step(known: isPreamble || bytes.isEmpty ? nil : .bytes(bytes))
        case .boundary:
            let spaces = buffer.prefix { $0 == 0x20 || $0 == 0x09 }.count
            buffer.removeFirst(spaces)
            guard buffer.count >= 2 else { return nil }
            let next = buffer.prefix(2)
            if next.elementsEqual([0x2D, 0x2D]) {
                place = .end
                buffer = []
                return nil
            }
            guard next.elementsEqual([0x0D, 0x0A]) else {
                throw .invalid("the form has a boundary that neither ends nor goes on")
            }
            place = .header
            return Step(known: nil)
        case .header: return try header()
        }
    }

    /// The header fields of a part, which begin with the end of the boundary's line.
    private mutating func header() throws(APIError) -> Step? {
        guard let end = find([0x0D, 0x0A, 0x0D, 0x0A]), end <= Self.headerLimit else {
            guard buffer.count <= Self.headerLimit else {
                throw .invalid(
                    "a part of the form has header fields of more than \(Self.headerLimit) bytes")
            }
            return nil
        }
        let text = String(decoding: buffer[..<end], as: UTF8.self)
        buffer.removeFirst(end + 4)
        (place, isPreamble) = (.body, false)
        for line in text.split(separator: "\r\n") {
            let field = line.split(separator: ":", maxSplits: 1)
            guard field.count == 2, String(field[0]).trimmed.lowercased() == "content-disposition"
            else { continue }
            let parameters = Self.parameters(String(field[1]))
            guard let name = parameters["name"] else { break }
            return Step(known: .part(name: name, file: parameters["filename"]))
        }
        throw .invalid("a part of the form has no name (Content-Disposition: form-data; name=...)")
    }

    /// Where these bytes begin in the buffer.
    private func find(_ bytes: [UInt8]) -> Int? {
        guard buffer.count >= bytes.count, let first = bytes.first else { return nil }
        var start = 0
        while let next = buffer[start...].firstIndex(of: first), next + bytes.count <= buffer.count
        {
            if buffer[next ..< next + bytes.count].elementsEqual(bytes) { return next }
            start = next + 1
        }
        return nil
    }

    /// `a=b; c="d"` as names and values.
    private static func parameters(_ text: String) -> [String: String] {
        var result: [String: String] = [:]
        var rest = text[...]
        while let equals = rest.firstIndex(of: "=") {
            let name = rest[..<equals].split(separator: ";").last.map { String($0).trimmed } ?? ""
            rest = rest[rest.index(after: equals)...]
            var value = ""
            if rest.first == "\"" {
                rest.removeFirst()
                while let character = rest.popFirst(), character != "\"" {
                    // Clients escape quotes with a backslash or, as browsers do, in percent.
                    let isEscape = character == "\\" && (rest.first == "\"" || rest.first == "\\")
                    value.append(isEscape ? rest.removeFirst() : character)
                }
            } else {
                let end = rest.firstIndex(of: ";") ?? rest.endIndex
                value = String(rest[..<end]).trimmed
                rest = rest[end...]
            }
            result[name.lowercased()] = result[name.lowercased()] ?? value
        }
        return result
    }
}

extension String {
    /// Without the spaces around it.
    fileprivate var trimmed: String {
        let isSpace = { (character: Character) in character == " " || character == "\t" }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}
