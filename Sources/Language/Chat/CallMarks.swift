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
        case .marked:
            let mark = V32Writer.mark
            space = "\n\n"
            section = Pair(
                begin: "<\(mark)function_calls>", end: "</\(mark)function_calls>")
            call = Pair(begin: "<\(mark)invoke", end: "</\(mark)invoke>")
        }
    }

    /// What begins the first call.
    package var first: String { section?.begin ?? call.begin }
    /// Space before it that is no part of the answer's words.
    private(set) var space = ""
}

extension CallMarks {
    /// Around the key of an argument in GLM's form.
    package static let keyMarks = Pair(
        begin: GLMToken.beginKey.rawValue, end: GLMToken.endKey.rawValue)
    /// Around the value of an argument in GLM's form.
    package static let valueMarks = Pair(
        begin: GLMToken.beginValue.rawValue, end: GLMToken.endValue.rawValue)
}

extension CallForm {
    /// Whether a grammar can say such a call, with its tool's schema.
    public var isGrammar: Bool { self != .marked }

    /// Whether the arguments of a call are JSON, so that a prompt may begin a call whose arguments
    /// a schema constrains.
    public var hasPlainArguments: Bool { CallMarks(self).separator != nil }
}
