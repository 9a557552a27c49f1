"""One colour for each emotion, on every screen: Okabe and Ito's, which colour-blind people can tell apart."""

COLOURS = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#e69f00",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
    "neutral": "#999999",
    "unsure": "#777777",
}
