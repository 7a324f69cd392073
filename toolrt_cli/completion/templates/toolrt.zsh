#compdef toolrt
# zsh completion of toolrt.
# @GENERATED@ Do not edit.
#
# Nothing here evaluates what stands on the line or what toolrt prints.

# Sets specs and commands of the command $1, its words joined by spaces; fails where
# there is none.
_toolrt_command() {
  case $1 in
@COMMANDS@
    (*) return 1 ;;
  esac
  specs+=(
@GLOBAL@
  )
}

# Sets names to what toolrt prints for $@: a kind, and for arguments the tool.
_toolrt_ask() {
  names=(${(f)"$(command toolrt ${toolrt_config:+--config=$toolrt_config} __complete "$@" 2>/dev/null </dev/null)"})
}

# Offers the names of the kind $1; $2 is what one of them is called.
_toolrt_names() {
  local -a names expl
  _toolrt_ask $1
  _wanted $1 expl $2 compadd -a names
}

@NAMES@

# @FILE or text.
_toolrt_json() {
  if compset -P '@'; then
    _files
  else
    _message 'JSON text, @FILE or -'
  fi
}

# NAME=VALUE, NAME:=JSON or NAME@FILE of the tool that is the first of the line.
_toolrt_arguments() {
  local -a names expl
  if [[ $PREFIX == *[=@]* ]]; then
    if [[ ${PREFIX%%[=@]*} == *: ]]; then
      _message 'JSON value'
    else
      compset -P 1 '*[=@]'
      _files
    fi
    return
  fi
  _toolrt_ask arguments "${(Q)line[1]}"
  _wanted arguments expl argument compadd -S '' -a names
}

# FIELD=VALUE, or not: before it.
_toolrt_filters() {
  local -a fields=(
@FIELDS@
  )
  compset -P not:
  case $PREFIX in
@ASKING@
    (*=*) _message value ;;
    (*) _describe -t fields field fields -S '' ;;
  esac
}

_toolrt_level() {
  local context state state_descr curcontext=$curcontext ret=1
  local -a line specs commands
  local -A opt_args
  _toolrt_command "$1" || return
  if (( ! $#commands )); then
    _arguments -S $specs
    return
  fi
  # -A: options after a sub-command are for its own level.
  _arguments -C -S -A '-*' $specs '1:command:->command' '*::word:->word' && ret=0
  case $state in
    (command) _describe -t commands 'toolrt command' commands && ret=0 ;;
    (word)
      curcontext=${curcontext%:*:*}:toolrt-${1// /-}${1:+-}$line[1]:
      _toolrt_level "${1:+$1 }${(Q)line[1]}" && ret=0
      ;;
  esac
  return ret
}

_toolrt() {
  local toolrt_config word
  local -i i
  # The words before a command are gone when its arguments are looked at.
  for (( i = 2; i <= $#words; i++ )); do
    word=${(Q)words[i]}
    if [[ $word == --config=* ]]; then
      toolrt_config=${word#*=}
    elif [[ $word == --config ]] && (( i + 1 < CURRENT )); then
      toolrt_config=${${(Q)words[i + 1]}/#'~/'/$HOME/}
    fi
  done
  _toolrt_level ''
}

if [[ $funcstack[1] == _toolrt ]]; then
  _toolrt "$@"
else
  compdef _toolrt toolrt
fi
