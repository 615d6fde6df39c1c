import Encoding

/// Where an answer of messages in channels begins.
public enum ChannelStart: Sendable, Hashable {
    /// In the header of a message, after its author.
    case header
    /// In words that the answer continues.
    case words
}

/// Splits an answer of messages in channels (gpt-oss's), as it arrives.
///
///     <|channel|>analysis<|message|>THOUGHT<|end|>
///     <|start|>assistant<|channel|>commentary to=functions.F json<|message|>{}<|call|>
///     <|start|>assistant<|channel|>final<|message|>WORDS<|return|>
///
/// The model's tokens are the signs of `HarmonyToken`, so words that spell a token are words. The
/// receiver of a message may also stand before its channel. A call ends with its own token or with
/// the text, and nothing comes after it.
struct ChannelReader {
    private typealias Piece = AnswerParser.Piece

    private enum Place {
        case header, thought, words, between, done
        /// A message that no client gets, such as a result that the model made up.
        case other
        /// Before the arguments of a call.
        case callHead(String)
        case arguments
        /// After a call that went wrong when its arguments had begun.
        case brokenCall
    }

    private var place: Place
    /// The functions that can be called: nil forbids calls, none allows any name.
    private let functions: Set<String>?
    private var callsLeft: Int
    /// Before and after the token of the channel.
    private var author = HarmonyWriter.assistant
    private var channel = ""
    private var hasChannel = false
    /// Whether the header began as the format says.
    private var isStarted = true
    /// Whether no token of the format came yet: such an answer may be words alone.
    private var isBare = true
    private var scan = ObjectScan()
    private var isScanned = false
    private var arguments = ""
    /// The header and the call at hand, as the model wrote them.
    private var written = ""
    private var pieces: [Piece] = []
    /// Whether the next text is a message of its own, after others of its kind.
    private var (hasThought, hasWords, beginsMessage) = (false, false, false)

    /// Longer than any header.
    private static let maximumHeaderBytes = 4096

    init(_ start: ChannelStart, functions: Set<String>?, callLimit: Int) {
        place = start == .header ? .header : .words
        self.functions = functions
        callsLeft = callLimit
    }

    var isDone: Bool { if case .done = place { true } else { false } }

    var isInCall: Bool { if case .callHead = place { true } else { openCall != nil } }

    /// What the model wrote of a call that is not whole, once its arguments have begun.
    var openCall: String? {
        switch place {
        case .arguments, .brokenCall: written
        default: nil
        }
    }

    mutating func append(_ text: String) -> [AnswerParser.Piece] {
        var words = ""
        for scalar in text.unicodeScalars {
            guard let token = HarmonyToken(sign: scalar) else {
                words.unicodeScalars.append(scalar)
                continue
            }
            read(words)
            words = ""
            read(token)
        }
        read(words)
        defer { pieces = [] }
        return pieces
    }

    /// - Parameter isEnd: Whether the model ended the text: a call may end with it.
    mutating func finish(isEnd: Bool) -> [AnswerParser.Piece] {
        switch place {
        case .callHead where !isEnd: say(.content(written))
        case .callHead, .arguments: if isEnd { endCall() }
        default: break
        }
        defer { pieces = [] }
        return pieces
    }

    // MARK: Tokens

    private mutating func read(_ token: HarmonyToken) {
        isBare = false
        switch place {
        case .done: return
        case .brokenCall:
            written += token.rawValue
            return
        case .header: readHeader(token)
        case .callHead, .arguments:
            guard token == .call || token == .end else { return leaveCall(token.rawValue) }
            endCall()
            if isInCall { written += token.rawValue } else if token == .call { place = .done }
        case .thought, .words, .other, .between:
            switch token {
            case .start: begin(author: "", isStarted: true, token)
            case .channel:
                begin(author: HarmonyWriter.assistant, isStarted: false, token)
                hasChannel = true
            case .end, .call: place = .between
            case .return: place = .done
            case .message, .constrain: break
            }
        }
    }

    private mutating func begin(author: String, isStarted: Bool, _ token: HarmonyToken) {
        place = .header
        (self.author, channel, hasChannel) = (author, "", false)
        self.isStarted = isStarted
        written = token.rawValue
    }

    private mutating func readHeader(_ token: HarmonyToken) {
        written += token.rawValue
        switch token {
        case .start: begin(author: "", isStarted: true, token)
        case .channel: hasChannel = true
        case .constrain: channel += " "
        case .message: readMessage()
        case .end, .call: place = .between
        case .return: place = .done
        }
    }

    /// What the message is, once its header is whole.
    private mutating func readMessage() {
        beginsMessage = true
        let words = author.split(whereSeparator: \.isWhitespace)
        guard words.first == HarmonyWriter.assistant[...] else {
            place = .other
            return
        }
        let rest = channel.split(whereSeparator: \.isWhitespace)
        let receivers = (words.dropFirst() + rest).filter { $0.utf8.starts(with: "to=".utf8) }
        if let receiver = receivers.first, isStarted, let name = function(receiver) {
            place = .callHead(name)
            return
        }
        place = rest.first == "analysis" ? .thought : .words
    }

    /// The function that a message is sent to.
    private func function(_ receiver: Substring) -> String? {
        let prefix = "to=functions."
        guard let functions, callsLeft > 0, receiver.utf8.starts(with: prefix.utf8) else {
            return nil
        }
        let name = String(receiver.utf8.dropFirst(prefix.utf8.count)) ?? ""
        return !name.isEmpty && (functions.isEmpty || functions.contains(name)) ? name : nil
    }

    // MARK: Words

    private mutating func read(_ text: String) {
        guard !text.isEmpty else { return }
        switch place {
        case .header:
            written += text
            if hasChannel { channel += text } else { author += text }
            if isBare, !Self.mayBeHeader(author.utf8.dropFirst(HarmonyWriter.assistant.utf8.count))
            {
                place = .words
                say(.content(written))
            } else if written.utf8.count > Self.maximumHeaderBytes {
                place = .other
            }
        case .thought: say(.reasoning(text))
        case .words: say(.content(text))
        case .callHead(let name): readCall(name, text)
        case .arguments: readArguments(text)
        case .brokenCall: written += text
        case .other, .between, .done: break
        }
    }

    /// Whether what follows the author in a header can begin a receiver.
    private static func mayBeHeader(_ text: Substring.UTF8View) -> Bool {
        let word = text.drop { CallForm.isSpace($0) }
        return "to=".utf8.starts(with: word) || word.starts(with: "to=".utf8)
    }

    private mutating func say(_ piece: AnswerParser.Piece) {
        switch piece {
        case .reasoning:
            if beginsMessage, hasThought { pieces.append(.reasoning("\n\n")) }
            hasThought = true
        case .content:
            if beginsMessage, hasWords { pieces.append(.content("\n\n")) }
            hasWords = true
        case .call, .arguments, .callEnds: break
        }
        beginsMessage = false
        pieces.append(piece)
    }

    // MARK: Calls

    private mutating func readCall(_ name: String, _ text: String) {
        written += text
        let rest = text.utf8.drop { CallForm.isSpace($0) }
        guard let first = rest.first else { return }
        guard first == UInt8(ascii: "{") else {
            place = .words
            return say(.content(text))
        }
        place = .arguments
        (scan, isScanned, arguments) = (ObjectScan(), false, "")
        pieces.append(.call(name: name))
        readObject(String(rest) ?? "")
    }

    private mutating func readArguments(_ text: String) {
        written += text
        guard isScanned else { return readObject(text) }
        if !text.utf8.allSatisfy({ CallForm.isSpace($0) }) { place = .brokenCall }
    }

    /// Passes arguments on, all but the last bracket, which waits for the end of the call.
    private mutating func readObject(_ text: String) {
        let bytes = Array(text.utf8)
        let end = scan.end(in: bytes)
        let part = String(decoding: bytes.prefix(end.map { $0 - 1 } ?? bytes.count), as: UTF8.self)
        if !part.isEmpty { pieces.append(.arguments(part)) }
        arguments += part
        guard let end else { return }
        isScanned = true
        let isObject: Bool
        do { isObject = try JSONValue.parse(arguments + "}").object != nil } catch {
            isObject = false
        }
        if !isObject || !bytes[end...].allSatisfy({ CallForm.isSpace($0) }) { place = .brokenCall }
    }

    private mutating func leaveCall(_ word: String) {
        written += word
        if case .callHead = place { place = .between } else { place = .brokenCall }
    }

    /// The call is over: whole, or broken.
    private mutating func endCall() {
        if case .callHead(let name) = place {
            pieces += [.call(name: name), .arguments("{}"), .callEnds]
        } else if isScanned {
            pieces += [.arguments("}"), .callEnds]
        } else {
            place = .brokenCall
            return
        }
        callsLeft -= 1
        place = callsLeft > 0 ? .between : .done
    }
}
