/// The general categories of Unicode 16, as Oniguruma 6.9 (which Hugging Face's tokenizers match
/// with) knows them.
///
/// Not Swift's own: a newer Unicode has assigned characters that a model's tokenizer has always
/// seen as unassigned, and they would then split elsewhere.
///
/// Runs in order of code point, apart by spaces: how many to pass over, the category's letter, how
/// many have it; in base 36, 0 and 1 left out. Letters are U (upper and title case), D (lower case)
/// or L. Written by `Tests/Reference/character_table.py`.
enum CharacterTable {
    static let categories: StaticString = """
        xP3 S P6 S P4 Na P2 S3 P2 Uq P3 S P S Dq P S P S yP S5 P S2 L P S 1S4 N2 S D P2 S N L P N3 P
        Un S U7 Do S D8 U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D U D U D2 U D U D U D U D U D U D U D U D2 U D U D U D U D U D U
        D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U2 D U D U D3 U2 D U D
        U2 D U3 D2 U4 D U2 D U3 D3 U2 D U2 D U D U D U2 D U D2 U D U2 D U3 D U D U2 D2 L U D3 L4 U2
        D U2 D U2 D U D U D U D U D U D U D U D U D2 U D U D U D U D U D U D U D U D U D2 U2 D U D
        U3 D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D7 U2 D U2 D2 U D U4 D U D U D U D U D1x L Dr Li S4 Lc Se L5 S7 L
        S L Sh M34 U D U D L S U D 2L D3 P U 4S2 U P U3 1U 1U2 D Uh 1U9 Dz U D2 U3 D3 U D U D U D U
        D U D U D U D U D U D U D U D U D5 U D S U D U2 D2 U1f D1c U D U D U D U D U D U D U D U D U
        D U D U D U D U D U D U D U D U D S M7 U D U D U D U D U D U D U D U D U D U D U D U D U D U
        D U D U D U D U D U D U D U D U D U D U D U D U D U D U2 D U D U D U D U D U D U D2 U D U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        1U12 2L P6 D15 P2 2S3 1M19 P M P M2 P M2 P M 8Lr 4L4 P2 hS3 P2 S P2 S2 Mb P 1P3 L17 Ml Na P4
        L2 M L2r P L M7 1S M6 L2 M2 S M4 L2 Na L3 S2 L Pe 2L M Lu Mr 2L2h Mb L eNa Lx M9 L2 S P3 L
        2M S2 Lm M4 L M9 L M3 L M5 2Pf 1Lp M3 2P 1Lb 5Lo S L6 8M9 L16 Mo 1Mx L1i M3 L Mi L M7 La M2
        P2 Na P Lg M3 1L8 2L2 2Lm 1L7 1L 3L4 2M L M7 2M2 2M3 L 8M 4L2 1L3 M2 2Na L2 S2 N6 S2 L P M
        2M3 1L6 4L2 2Lm 1L7 1L2 1L2 1L2 2M 1M5 4M2 2M3 3M 7L4 1L 7Na M2 L3 M P aM3 1L9 1L3 1Lm 1L7
        1L2 1L5 2M L M8 1M3 1M3 2L fL2 M2 2Na P S 7L M6 1M3 1L8 2L2 2Lm 1L7 1L2 1L5 2M L M7 2M2 2M3
        7M3 4L2 1L3 M2 2Na S L N6 aM L 1L6 3L3 1L4 3L2 1L 1L2 3L2 3L3 3Lc 4M5 3M3 1M4 2L 6M eNd S8
        5M5 L8 1L3 1Ln 1Lg 2M L M7 1M3 1M4 7M2 1L3 2L 2L2 M2 2Na 7P N7 S L M3 P L8 1L3 1Ln 1La 1L5
        2M L M7 1M3 1M4 7M2 6L2 1L2 M2 2Na 1L2 M cM4 L9 1L3 1L15 M2 L M7 1M3 1M4 L S 4L3 M N7 L3 M2
        2Nj S L6 1M3 1Li 3Lo 1L9 1L 2L7 3M 4M6 1M 1M8 6Na 2M2 P cL1c M L2 M7 4S L7 M8 P Na P2 11L2
        1L 1L5 1Lo 1L 1La M L2 M9 L 2L5 1L 1M7 1Na 2L4 wL S3 Pf S P S3 M2 S6 Nk S M S M S M P4 M2 L8
        1L10 4Mk P M2 L5 Mb 1M10 1S8 M S6 1S2 P5 S4 P2 11L17 Mk L Na P6 L6 M4 L4 M3 L M3 L2 M7 L3 M4
        Ld Mc L M Na M4 S2 U12 1U 5U 2D17 P L D3 L95 1L4 2L7 1L 1L4 2L15 1L4 2Lx 1L4 2L7 1L 1L4 2Lf
        1L1l 1L4 2L1v 2M3 P9 Nk 3Lg Sa 6U2e 2D6 2P Lh8 S P Lh 1Lq P2 3L23 P3 N3 L8 7Li M4 9Lj M3 P2
        9Li M2 cLd 1L3 1M2 cL1g Mw P3 L P3 S L M 2Na 6Na 6Pb M3 1M Na 6L2h 7L5 M2 Ly M L 5L1y aLv
        1Mc 4Mc 4S 3P2 Na Lu 2L5 bL18 4Lq 6Nb 3Sy Ln M5 2P2 L1h Ma 1Mt 2M Na 6Na 6P7 L P6 2Mv 1dM5
        L1b Mh L8 1P2 Na P7 Sa M9 S9 P3 M3 Lu Md L2 Na L18 Me 8P4 L10 Mk 3P5 Na 3L3 Na L10 P2 D9 U D
        5U17 2U3 P8 8M3 P Ml L4 M L6 M L2 M3 L 5D18 L1r Dd L Dy L11 M1s U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D9 U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D
        U D U D9 U8 D6 2U6 2D8 U8 D8 U8 D6 2U6 2D8 1U 1U 1U 1U D8 U8 De 2D8 U8 D8 U8 D8 U8 D5 1D2 U5
        S D S3 D3 1D2 U5 S3 D4 2D2 U4 1S3 D8 U5 S3 2D3 1D2 U5 S2 hPo 8Pk S Pd S Pc hN L 2N6 S3 P2 L
        Na S3 P2 1Ld 3Sx fMx fS2 U S4 U S2 D U3 D2 U3 D S U S3 U5 S6 U S U S U S U4 S D U4 D L4 D S2
        D2 U2 S5 U D4 S4 D S N1f U D N5 S2 4Sag P4 St P2 S73 mSb lN1o S26 Nm Sh4 Pe Nu S1d P2 Sv Pa
        Sb7 Pm S1r P4 Sw P2 Sae 2Sw 1S2x U1c D1c U D U3 D2 U D U D U D U4 D U D2 U D6 L2 U3 D U D U
        D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U
        D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U
        D U D2 S6 U D U D M3 U D 5P4 N P2 D12 1D 5D 2L1k 7L P eM Ln 9L7 1L7 1L7 1L7 1L7 1L7 1L7 1L7
        1Mw P1b L Pw S2 Pc ySq 1S2h cS5y qSg 1P3 S L2 N Pa S2 Pc S N9 M6 P L5 S2 N3 L2 P S2 1L2e 2M2
        S2 L3 P L2i P L4 5L17 1L2m 1S2 N4 Sa Lw S12 9S Lg Sv 1Na Su N8 S Nf Sw Na S13 Nf S8w L534
        S1s Lh3h 3S1j 9L1a P2 L7h P3 Lg Na L2 kU D U D U D U D U D U D U D U D U D U D U D U D U D U
        D U D U D U D U D U D U D U D U D U D L M4 P Ma P L U D U D U D U D U D U D U D U D U D U D
        U D U D U D U D L2 M2 L1y Na M2 P6 8Sn L9 S2 U D U D U D U D U D U D U D3 U D U D U D U D U
        D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U D U
        D U D U D U D L D8 U D U D U2 D U D U D U D U D L S2 U D U D L U D U D3 U D U D U D U D U D
        U D U D U D U D U D U5 D U5 D U D U D U D U D U D U D U D U4 D U D U2 D 2U D 1D 1D U D U D U
        D U lL3 U D L3 D L7 M L3 M L4 M Ln M5 S4 M 3N6 S4 6L1g P4 8M2 L1e Mi 8P2 Na 6Mi L6 P3 L P L2
        M Na Ls M8 P2 Ln Md bP Lt 3M4 L1b Me Pd 1L Na 4P2 L5 M La Na L5 1L15 Me 9L3 M L8 M2 2Na 2P4
        Ln S3 L M3 L1e M L M3 L2 M2 L5 M2 L M L oL3 P2 Lb M5 P2 L3 M2 aL6 2L6 2L6 9L7 1L7 1D17 S L4
        D9 L S2 4D28 Lz M8 P M2 2Na 6L8mc cLn 4L1d 6isLa6 2L2y 12D7 cD5 5L M La S Ld 1L5 1L 1L2 1L2
        1L30 Sh gLa3 P2 Sg L1s 2L1i 7S wLc S4 Mg Pa 6Mg Pz 1Pe S P S3 1P S P2 4L5 1L3r 4P3 S P6 S P4
        Na P2 S3 P2 Uq P3 S P S Dq P S P S P7 L2h 3L6 2L6 2L6 2L3 3S7 1S7 dS2 2Lc 1Lq 1Lj 1L2 1Lf
        2Le yL3f 5P3 4N19 3S9 N1l Sh N2 S3 1Sd 3S 1bS19 M 3mLt 3L1d fM Nr 4Lw N4 9Lk N L8 N 5L12 M5
        5Lu 1P L10 4L8 P N5 16U14 D14 L26 2Na 6U10 4D10 4L14 8L1g bP Ub 1Uf 1U7 1U2 1Db 1Df 1D7 1D2
        3L1g cL8n 9Lm aL8 oL6 1L16 1L9 1xL6 2L 1L18 1L2 3L 2Ln 1P N8 Ln S2 N7 Lv 8N9 1cLj 1L2 5N5 Lm
        N6 3P Lq 5P 1sL1k 4N2 L2 Ng 2N1a L M3 1M2 5M4 L4 1L3 1Lt 2M3 4M N9 7P9 7Lt N2 P Lt N3 wL8 S
        Ls M2 4N5 P7 9L1i 3P7 Lm 2N8 Lj 5N8 Li 7P4 cN7 28L21 1jU1f dD1f 7N6 L10 M4 8Na 6Na L6 Um 3M5
        P L Dm 8S2 5sNv 1L16 1M2 P 2L2 gL3 1jM4 Lt Na L 8Lm Mb N4 P5 mLi M4 P4 12Ll N7 kLn 9M3 L1h
        Mf P7 4Nu M L2 M2 L 9M4 L19 Mb P2 1P4 M dLp 7Na 6M3 L10 Me 1Na P4 L M2 L 8Lz M P2 L 9M3 L1c
        Me L4 P4 M4 P M2 Na L P L P3 1Nk bLi 1Lp Mc P6 M L2 M 1qL7 1L 1L4 1Lf 1La P 6L1b Mc 5Na 6M4
        1L8 2L2 2Lm 1L7 1L2 1L5 1M2 L M7 2M2 2M3 2L 6M 5L5 M2 2M7 3M5 bLa 1L 2L 1L12 1L M9 1M 2M 1M4
        1M5 L M L P2 1P2 8M2 tL1h Mi L4 P5 Na P2 1P M L3 uL1c Mk L2 P L 8Na 4mL1b M7 2M9 Pn L4 M2
        yL1c Mh P3 L bNa 6Pd jL17 Md L P 6Na 6Nk sLr 2Mf 4Nc P3 S L7 55L18 Mf P 2sUw Dw Nj cL8 2L
        2L8 1L2 1Lo M6 1M2 2M4 L M L M2 P3 9Na 1yL8 2L13 M7 2M7 L P L M rL Ma L14 M7 L M4 P8 M 8L Mb
        L1a Mg P3 L P5 dL21 7Pa 52Lx P eNa 6L9 1L11 M8 1M8 L P5 aNt 3P2 Lu 2Mm 1Me 21L7 1L2 1L12 M6
        3M 1M2 1M7 L M 8Na 6L6 1L2 1Lw M5 1M2 1M5 L 7Na 8mLj M4 P2 7M2 L M Ld 1Ly M7 3M5 Pd Na M 2dL
        fNl St dP Lpm 2uN33 1P5 bL5g 218L2p P2 dLts gM L6 Mf aL32z 5Lg7 5a1Lu Mi Na 1c6Lft 7Lv 1Na
        4P2 L27 1Na 6Lu 2M5 P aL1c M7 P5 S4 L4 P S aNa 1N7 1Ll 5Lj c0L19 P3 Na 5iUw Dw Nn P4 2tL23
        4M L M1j 7M4 Ld 1sL2 P L M bM2 eL4qg 8Lye 15La 6w7L4 1L7 1L2 1L83 fL tL3 2L eL4 8Lb0 1s4L2z
        5Ld 3L9 7La 2S M2 P 31cS6o Na 6Sc4 24M1a 2Mn 9S38 1oS6u aS13 2S1o M5 S3 M6 8M8 S2 M7 Su M4
        S1p lS1u M3 S 3eNk cNk cS2f 9Np 3rUq Dq Uq D7 1Di Uq Dq U 1U2 2U 2U2 2U4 1U8 D4 1D 1D7 1Db
        Uq Dq U2 1U4 2U8 1U7 1Dq U2 1U4 1U5 1U 3U7 1Dq Uq Dq Uq Dq Uq Dq Uq Dq Uq Dq Uq Ds 2Up S Dp
        S D6 Up S Dp S D6 Up S Dp S D6 Up S Dp S D6 Up S Dp S D6 U D 2N1e Se8 M1j S4 M1e S8 M Se M
        S2 P5 fM5 1Mf uoDa L Dk 6D6 5xM7 1Mh 2M7 1M2 1M5 5L1q xM 34L19 3M7 L7 2Na 4L S 8wLu M hL18
        M4 Na 5S cwLs M4 Na 5yLu M2 L Na 4P dcL7 1L4 1L2 1Lf 1L5h 2N9 M7 15Uy Dy M7 L 4Na 4P2 ltN1n
        S N3 S N4 24N19 S Nf 5eL4 1Lr 1L2 1L 2L 1La 1L4 1L 1L 6L 4L 1L 1L 1L3 1L2 1L 2L 1L 1L 1L 1L
        1L2 1L 2L4 1L7 1L4 1L4 1L 1La 1Lh 5L3 1L5 1Lh 1gS2 7iS18 4S2s cSf 2Sf 1Sf 1S11 aNd S4h 1kSt
        dS18 4S9 7S2 eS6 4aSrc 4Sh 3Sd 3S3b 4S2n 6Sc 4S fSc 4S1k 8Sa 6S14 8Su 2Sc 4S2 1qS9g cSe 2Sd
        3Sa 5S1k 7Sf 2Sb 6S9 7S43 1S2k Na smLwyo wL37e 6L66 2L4g2 eL5rl fLha 1wiLf2 15uL3t7 5L38g
        f9e8M6o
        """

    /// The script Han (ideographs, their radicals, signs and numerals), in the same form.
    static let han: StaticString = """
        96oHq 1H2h cH5y 1bH 1H pH9 eH4 qsH534 1sHg74 hkwHa6 2H2y n48H2 cH2 sgeHwyo wH37e 6H66 2H4g2
        eH5rl fHha 1wiHf2 15uH3t7 5H38g
        """

    /// `\s`: Unicode's White_Space, which Oniguruma matches whole.
    static let whiteSpace: [ClosedRange<Int>] = [
        0x09 ... 0x0D, 0x20 ... 0x20, 0x85 ... 0x85, 0xA0 ... 0xA0, 0x1680 ... 0x1680,
        0x2000 ... 0x200A,
        0x2028 ... 0x2029, 0x202F ... 0x202F, 0x205F ... 0x205F, 0x3000 ... 0x3000,
    ]
}
