# Formats of jq that the interpreter lacks.
def __cell(text):
  if . == null then ""
  elif isstring then text
  elif isarray or isobject then error("a list or an object cannot be a cell")
  else tostring end;
def __replace($this; $by): split($this) | join($by);
def @csv: [.[] | __cell("\"" + __replace("\""; "\"\"") + "\"")] | join(",");
def @tsv:
  def escape: __replace("\\"; "\\\\") | __replace("\t"; "\\t") | __replace("\n"; "\\n") | __replace("\r"; "\\r");
  [.[] | __cell(escape)] | join("\t");
