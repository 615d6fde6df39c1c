/// The words by which an answer's calls are found.
package struct CallMarks: Sendable, Hashable {
    /// Begins and ends all calls of an answer; nil in a form whose calls stand by themselves.
    package var section: Pair?
    package var call: Pair
    /// Stands between a call's name and its arguments, which are JSON; nil where arguments are
    /// members by themselves.
    package var separator: String?

    package struct Pair: Sendable, Hashable {
        package var begin: String
        package var end: String
    }

    /// The words of one form.
    package init(_ form: CallForm) {
        switch form {
        case .fenced, .bare:
            section = Pair(
                begin: ChatToken.beginCalls.rawValue, end: ChatToken.endCalls.rawValue)
            call = Pair(begin: ChatToken.beginCall.rawValue, end: ChatToken.endCall.rawValue)
            separator = ChatToken.separator.rawValue
        case .numbered:
            section = Pair(
                begin: KimiToken.beginCalls.rawValue, end: KimiToken.endCalls.rawValue)
            call = Pair(begin: KimiToken.beginCall.rawValue, end: KimiToken.endCall.rawValue)
            separator = KimiToken.beginArguments.rawValue
        case .keyed:
            call = Pair(begin: GLMToken.beginCall.rawValue, end: GLMToken.endCall.rawValue)
            space = "\n"
        case .object:
            call = Pair(begin: QwenToken.beginCall.rawValue, end: QwenToken.endCall.rawValue)
            space = "\n"
        case .tagged:
            call = Pair(begin: QwenToken.beginCall.rawValue, end: QwenToken.endCall.rawValue)
            space = "\n\n"
        case .marked:
            let mark = V32Writer.mark
            space = "\n\n"
            section = Pair(
                begin: "<\(mark)function_calls>", end: "</\(mark)function_calls>")
            call = Pair(begin: "<\(mark)invoke", end: "</\(mark)invoke>")
        case .channeled:
            call = Pair(begin: HarmonyToken.start.rawValue, end: HarmonyToken.call.rawValue)
        case .invoked:
            space = "\n"
            section = Pair(
                begin: MiniMaxToken.beginCalls.rawValue, end: MiniMaxToken.endCalls.rawValue)
            call = Pair(begin: "<invoke", end: "</invoke>")
        }
    }

    /// What begins the first call.
    package var first: String { section?.begin ?? call.begin }
    /// Space before it that is no part of the answer's words.
    private(set) var space = ""
}

extension CallMarks {
    /// What stands around one argument, in a form that writes arguments member by member.
    package struct Member: Sendable, Hashable {
        /// Around the key; what follows the key up to `key.end` belongs to the mark.
        package var key: Pair
        /// Around the value.
        package var value: Pair
        /// Whether a value is a line of its own.
        package var hasLines = false
        /// Whether the value's mark says what the value is.
        package var saysKind = false
    }

    /// The marks around arguments; nil for a form whose arguments are JSON.
    package static func member(of form: CallForm) -> Member? {
        switch form {
        case .fenced, .bare, .numbered, .object, .channeled: return nil
        case .keyed:
            return Member(
                key: Pair(begin: GLMToken.beginKey.rawValue, end: GLMToken.endKey.rawValue),
                value: Pair(begin: GLMToken.beginValue.rawValue, end: GLMToken.endValue.rawValue))
        case .marked:
            let mark = V32Writer.mark
            return Member(
                key: Pair(begin: "<\(mark)parameter name=\"", end: ">"),
                value: Pair(begin: "", end: "</\(mark)parameter>"), saysKind: true)
        case .tagged:
            return Member(
                key: Pair(begin: "<parameter=", end: ">"),
                value: Pair(begin: "", end: "</parameter>"), hasLines: true)
        case .invoked:
            return Member(
                key: Pair(begin: "<parameter name=\"", end: ">"),
                value: Pair(begin: "", end: "</parameter>"))
        }
    }
}

extension CallForm {
    /// Whether the arguments of a call are JSON, so that a prompt may begin a call whose arguments
    /// a schema constrains.
    public var hasPlainArguments: Bool { CallMarks.member(of: self) == nil }

    /// The token from which on a text is a call: that of the first mark, or the one inside it.
    package var trigger: String {
        self == .marked ? V32Writer.mark : CallMarks(self).first
    }

    /// The byte of the first mark before that token, where the token stands inside the mark.
    package var beforeTrigger: UInt8? { self == .marked ? UInt8(ascii: "<") : nil }
}
