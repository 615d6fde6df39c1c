public import ArgumentParser
public import Language

/// How chats are written.
struct ChatArguments: ParsableArguments {
    @Option(
        help: "Whose rules chats follow (default: those of the model's own template).")
    var chatStyle: ChatTemplate.Style?
}

extension ChatTemplate.Style: ExpressibleByArgument {}
