/// The items that an array has so far, as a tree of their bytes; those of strings without the quote
/// at their end.
struct SeenItems {
    /// Items of an array whose items must differ: a list of values, not a text.
    static let itemLimit = 512
    /// Bytes that they may have together, which bounds what a mask looks through.
    static let byteLimit = 8 << 10

    /// Where no item leads.
    static let nowhere: Int32 = -1
    static let root: Int32 = 0

    private var children: [UInt32: Int32] = [:]
    /// Per node, whether an item ends there.
    private var isItem = [false]
    private var count = 0
    /// Whether no further item may follow.
    private(set) var isFull = false

    var isEmpty: Bool { count == 0 }

    /// The node after one more byte.
    func next(_ node: Int32, _ byte: UInt8) -> Int32 {
        guard node >= 0 else { return Self.nowhere }
        return children[UInt32(node) << 8 | UInt32(byte)] ?? Self.nowhere
    }

    /// Whether an item ends at a node.
    func hasItem(at node: Int32) -> Bool { node >= 0 && isItem[Int(node)] }

    /// Takes in an item.
    ///
    /// A string beyond the limits is not kept, because nothing may follow it. The comma after
    /// another value was written before the value could be taken in, so such a value is kept: it
    /// is short.
    mutating func insert(_ item: [UInt8]) {
        let isBeyond = count == Self.itemLimit || isItem.count + item.count > Self.byteLimit
        if isBeyond {
            isFull = true
            if item.first == UInt8(ascii: "\"") { return }
        }
        var node = Self.root
        for byte in item {
            let known = next(node, byte)
            if known == Self.nowhere {
                let new = Int32(isItem.count)
                isItem.append(false)
                children[UInt32(node) << 8 | UInt32(byte)] = new
                node = new
            } else {
                node = known
            }
        }
        isItem[Int(node)] = true
        count += 1
    }
}
